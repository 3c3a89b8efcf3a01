"""A /sys and a /run that a test makes up: as much of them as NTT looks at."""

from __future__ import annotations

from pathlib import Path


class Machine:
    """Devices are named by their path below /sys/devices; every block device is linked as the kernel does."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.run = folder / "sys", folder / "run"
        for place in (self.sys / "dev" / "block", self.sys / "block", self.sys / "class" / "block"):
            place.mkdir(parents=True)
        (self.run / "udev" / "data").mkdir(parents=True)
        self.polls(0)

    def polls(self, every_ms: int) -> None:
        """What is set for all drives."""
        self.write("module/block/parameters", {"events_dfl_poll_msecs": str(every_ms)})

    def write(self, place: str, attributes: dict[str, str]) -> Path:
        folder = self.sys / place
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in attributes.items():
            (folder / name).write_text(f"{value}\n")
        return folder

    def block(self, place: str, number: str, attributes: dict[str, str] | None = None) -> Path:
        """A whole device or a partition; `attributes` come on top of what all have."""
        defaults = {"dev": number, "size": "0", "removable": "0"}
        folder = self.write(f"devices/{place}", defaults | (attributes or {}))
        links = [self.sys / "dev" / "block" / number, self.sys / "class" / "block" / folder.name]
        if "partition" not in (attributes or {}):
            links.append(self.sys / "block" / folder.name)
        for link in links:
            link.symlink_to(folder)
        return folder

    def scsi(self, port: str, address: str, name: str, number: str, device: dict[str, str], **attributes: str) -> Path:
        """A disk or a drive behind a SCSI address "H:C:T:L" at a port."""
        host, channel, target, _ = address.split(":")
        above = f"{port}/host{host}/target{host}:{channel}:{target}/{address}"
        self.write(f"devices/{above}", device)
        folder = self.block(f"{above}/block/{name}", number, attributes)
        (folder / "device").symlink_to(self.sys / "devices" / above)
        return folder

    def usb(self, port: str, serial: str = "") -> str:
        """A USB device with one interface; where its SCSI hosts go."""
        device = {"idVendor": "152d", "idProduct": "0578", "manufacturer": "JMicron", "product": "Bridge", "remove": ""}
        place = f"pci0000:00/0000:00:14.0/usb2/{port}"
        self.write(f"devices/{place}", device | ({"serial": serial} if serial else {}))
        self.write(f"devices/{place}/{port}:1.0", {"bInterfaceSubClass": "06"})
        return f"{place}/{port}:1.0"

    def udev(self, number: str, **properties: str) -> None:
        lines = "".join(f"E:{name}={value}\n" for name, value in properties.items())
        (self.run / "udev" / "data" / f"b{number}").write_text(lines)
