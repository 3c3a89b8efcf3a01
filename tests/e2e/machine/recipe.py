"""What the test machine is made of. A change of this folder's files is a new machine."""

from __future__ import annotations

PACKAGES = (
    "busybox-static", "cdparanoia", "dosfstools", "e2fsprogs", "eject", "exfat-fuse", "fdisk", "fuse3", "gddrescue",
    "iproute2", "kmod", "libarchive13", "mount", "ntfs-3g", "postgresql", "procps", "python3", "sg3-utils",
    "smartmontools", "tar", "udev", "util-linux", "wodim", "zstd",
)  # fmt: skip

KERNEL_PACKAGE = "linux-image-amd64"  # depends on the one kernel that is current

# below /lib/modules/<release>/kernel; kernel/block holds what sd_mod needs
MODULES = (
    "arch", "block", "crypto", "lib", "fs", "drivers/ata", "drivers/block", "drivers/cdrom", "drivers/char",
    "drivers/md", "drivers/scsi", "drivers/usb", "drivers/virtio", "drivers/net/virtio_net.ko",
)  # fmt: skip

# what finds and mounts the root file system, in this order
EARLY_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay")

# loaded when the machine boots: a mount would load them, too, but twenty times slower here than the mount itself
DRIVERS = (
    "ahci",
    "sr_mod",
    "sd_mod",
    "sg",
    "virtio_scsi",
    "virtio_console",
    "xhci_pci",
    "usb_storage",
    "uas",
    "loop",
    "fuse",
)

ROOT_BYTES = 1 << 30
MEMORY_MIB = 1024
PROCESSORS = 2

# Debian package -> a program of it, as the host needs them to build and run the machine
HOST_PROGRAMS = {
    "qemu-system-x86": "qemu-system-x86_64",
    "mmdebstrap": "mmdebstrap",
    "kmod": "depmod",
    "cpio": "cpio",
    "e2fsprogs": "mke2fs",
    "zstd": "zstd",
    "util-linux": "setpriv",
    "dpkg": "dpkg",
}
