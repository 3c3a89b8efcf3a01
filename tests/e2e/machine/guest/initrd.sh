#!/bin/busybox sh
# shellcheck shell=dash
# Kernel -> the root file system, which stays as it is: what changes goes to memory.
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
# shellcheck disable=SC2043  # the builder puts several there
for module in @EARLY_MODULES@; do /bin/busybox modprobe "$module"; done
/bin/busybox mount -t tmpfs -o mode=755,size=80% none /changes
/bin/busybox mkdir -p /changes/upper /changes/work
/bin/busybox mount -t ext4 -o ro /dev/vda /below || /bin/busybox poweroff -f
/bin/busybox mount -t overlay -o lowerdir=/below,upperdir=/changes/upper,workdir=/changes/work none /root
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/test-machine-init
