"""smartctl's arguments; its JSON -> what the drive says of itself.

Source: smartctl(8), options `-i` and `-j`; keys as smartmontools 7.0 and later write them.
"""

from __future__ import annotations

import msgspec


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Device(msgspec.Struct, frozen=True):
    type: str = ""
    protocol: str = ""


class _Answer(msgspec.Struct, frozen=True):
    device: _Device = _Device()
    form_factor: _Named = _Named()
    model_family: str = ""
    model_name: str = ""
    serial_number: str = ""
    firmware_version: str = ""
    vendor: str = ""
    product: str = ""
    revision: str = ""
    scsi_vendor: str = ""
    scsi_product: str = ""
    scsi_revision: str = ""


def smartctl_argv(device: str) -> list[str]:
    """Identity only, as JSON; a disk that sleeps is not woken (`-n standby`)."""
    return ["smartctl", "--info", "--json", "--nocheck=standby", "--", device]


def smartctl_facts(output: bytes) -> dict[str, str]:
    """What the drive says of itself; empty when the output is no answer. The exit status says nothing of that."""
    try:
        answer = msgspec.json.decode(output, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    told = {
        "model": answer.model_name or answer.product or answer.scsi_product,
        "family": answer.model_family,
        "vendor": answer.vendor or answer.scsi_vendor,
        "serial": answer.serial_number,
        "revision": answer.firmware_version or answer.revision or answer.scsi_revision,
        "protocol": answer.device.protocol,
        "form_factor": answer.form_factor.name,
    }
    return {name: value for name, value in told.items() if value}
