#!/bin/sh
# /init of the guest: on the serial console a shell without echo, for programs; with terminal=ROWSxCOLUMNS on the kernel's
# command line, one for people.
[ -e /bin/mount ] || /bin/busybox --install -s /bin
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts
echo 1 > /proc/sys/kernel/printk
ip link set lo up
cat > /bin/nic <<'END'
#!/bin/sh
# nic [dhcp] [mtu N]: load the driver, bring eth0 up. Not done at boot, so that a saved
# state has no driver yet and every guest started from it takes its own MAC address.
while read -r m; do insmod "$m" || echo "guest: cannot load $m"; done < /lib/modules/load
i=0; while [ ! -e /sys/class/net/eth0 ] && [ $i -lt 50 ]; do usleep 100000; i=$((i+1)); done
while [ $# -gt 0 ]; do
	case $1 in
	mtu) ip link set eth0 mtu "$2"; shift;;
	dhcp) dhcp=1;;
	esac
	shift
done
ip link set eth0 up || exit 1
[ -z "$dhcp" ] || udhcpc -i eth0 -n -q -t 8 -T 1 -A 1
END
chmod 755 /bin/nic
hostname v86guest
export PS1= PS2=
cd /root
exec 0</dev/ttyS0 1>/dev/ttyS0 2>&1
for word in $(cat /proc/cmdline); do
	case $word in terminal=*) exec /bin/terminal "${word#terminal=}";; esac
done
stty -echo icanon -onlcr
echo "guest: ready $(cut -d' ' -f1 /proc/uptime)"
while :; do setsid cttyhack sh -s; done
