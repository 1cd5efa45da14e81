#!/bin/sh
# A page that the guest's web server makes anew for each request.
echo "Content-Type: text/plain"
echo "Access-Control-Allow-Origin: *"
echo
echo "This is $(uname -sr) in a browser tab, up for $(cut -d' ' -f1 /proc/uptime) s."
echo "You are ${REMOTE_ADDR:-somebody}."
