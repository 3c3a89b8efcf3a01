#!/bin/sh
# A disk with a piece of the host's file system, mounted at $1 -> its paths appear where they are on the host.
set -eu
while read -r path; do
    [ ! -e "$path" ] || continue # the system's own
    mkdir -p "${path%/*}"
    if [ -d "$1/tree$path" ]; then mkdir "$path"; else : >"$path"; fi
    mount --bind "$1/tree$path" "$path"
done <"$1/paths"
if [ -n "$(ls "$1/libraries")" ]; then
    echo "$1/libraries" >/etc/ld.so.conf.d/host.conf
    ldconfig
fi
