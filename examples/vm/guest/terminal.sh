#!/bin/sh
# What /init goes on with where a person sits at the console: terminal ROWSxCOLUMNS. With a network and a web server.
stty sane
stty rows "${1%x*}" cols "${1#*x}"
export TERM=xterm PS1='\[\e[1;32m\]guest\[\e[0m\]:\w# '
nic dhcp
httpd -h /www
echo "guest: ready $(cut -d' ' -f1 /proc/uptime)"
cat /etc/motd
while :; do setsid cttyhack sh; done
