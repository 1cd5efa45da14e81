#!/bin/sh
# pkg: Debian packages from a server, checked and unpacked with all that they need.
FROM=${PKG_FROM:-http://www.playground.test/files}

say() { echo "pkg: $*" >&2; }
get() { wget -q -O "$1" "$FROM/$1" || { say "$FROM/$1 cannot be fetched"; rm -f "$1"; return 1; }; }

# A package's file, unless it is installed.
put() {
	[ -e "$1.done" ] && return
	get "$1" || return
	grep " $1\$" SHA256SUMS | sha256sum -c -s || { say "$1 is damaged"; rm -f "$1"; return 1; }
	echo "unpacking $1"
	dpkg-deb -x "$1" / && rm "$1" && : > "$1.done"
}

one() {
	files=$(sed -n "s/^$1 //p" index)
	[ -n "$files" ] || { say "there is no $1; see pkg list"; return 1; }
	for file in $files; do put "$file" || return; done
	echo "$1 is installed"
}

mkdir -p /var/lib/pkg && cd /var/lib/pkg || exit
case $1 in
list)
	get index && cut -d' ' -f1 index;;
install)
	shift
	get index && get SHA256SUMS || exit
	for name; do one "$name" || exit; done;;
*)
	say "use: pkg list, or pkg install NAME..."
	exit 2;;
esac
