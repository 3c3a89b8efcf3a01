#!/bin/sh
# Process 1: what Debian's own start does for devices, in its order; then the agent.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/pts /dev/shm /run/lock /run/udev
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
hostname machine
ip link set lo up
# shellcheck disable=SC2043  # the builder puts several there
for module in @DRIVERS@; do modprobe "$module"; done
/lib/systemd/systemd-udevd --daemon
udevadm trigger --type=subsystems --action=add
udevadm trigger --type=devices --action=add
udevadm settle
while :; do /usr/bin/python3 /usr/local/lib/test-machine-agent.py; done
