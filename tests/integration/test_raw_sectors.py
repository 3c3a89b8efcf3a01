"""Raw CD sectors, with and without a cue sheet -> the same files as on the plain disc, with their places exact."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from iso_images import opened, run
from msgspec.structs import replace as replace_struct
from raw_discs import (
    SESSION_GAP,
    contents_below,
    contents_of,
    cue,
    files_of,
    frames_time,
    moving_pictures,
    raw,
    reader_of,
    small_tree,
    sound,
    source_of,
    volume_of,
)

from ntt.copier.damage import damaged_ranges
from ntt.model import Entry, Route, WalkProblem
from ntt.readers.base import ReadError, VolumeReader
from ntt.readers.opening import open_volume
from ntt.readers.raw.tracks import SectorView, raw_tracks

LAYOUTS = pytest.mark.parametrize(
    ("mode", "subchannel"), [(1, 0), (2, 0), (1, 96), (2, 96), (1, 16)], ids=["1", "2", "1+96", "2+96", "1+16"]
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return small_tree(tmp_path / "tree")


@pytest.fixture
def iso(tmp_path: Path, tree: Path) -> bytes:
    return made(tmp_path, tree)


def made(tmp_path: Path, tree: Path, *options: str | Path) -> bytes:
    run("genisoimage", "-quiet", "-R", "-J", *options, "-o", tmp_path / "plain.iso", tree)
    return (tmp_path / "plain.iso").read_bytes()


def written(tmp_path: Path, *parts: bytes) -> Path:
    image = tmp_path / "disc.bin"
    image.write_bytes(b"".join(parts))
    return image


# ---- one data track


@LAYOUTS
def test_files_are_those_of_the_plain_image_and_their_extents_lead_to_them(
    mode: int, subchannel: int, tmp_path: Path, tree: Path, iso: bytes
) -> None:
    image = written(tmp_path, raw(iso, mode, subchannel=subchannel))
    bin_bytes = image.read_bytes()
    source = source_of(image)
    (track,) = raw_tracks(source)
    assert (track.mode, track.sector_bytes, track.base_bytes) == (f"mode{mode}", 2352 + subchannel, 0)
    assert (track.sessions, track.end_bytes, track.remark) == ((0,), len(bin_bytes), "")
    view = SectorView(source, track.sector_bytes, track.data_at, track.base_bytes)
    assert (view.size_bytes, view.read(0, len(iso))) == (len(iso), iso)
    reader = reader_of(source, track)
    assert contents_of(reader) == contents_below(tree)
    assert (reader.fstype, reader.label) == ("iso9660", "CDROM")
    for path, entry in files_of(reader).items():
        extents = reader.extents(entry.ino)
        pieces = [bin_bytes[one.image_offset : one.image_offset + one.image_length] for one in extents]
        assert b"".join(pieces) == (tree / path.decode()).read_bytes()
        assert all(one.file_length == one.image_length <= 2048 for one in extents)
        assert [one.file_offset for one in extents] == list(range(0, entry.size, 2048))
        assert entry.first_byte == (extents[0].image_offset if extents else -1)


def test_bchunk_unpacks_the_same_files(tmp_path: Path, tree: Path, iso: bytes) -> None:
    image = written(tmp_path, raw(iso, 2), sound(300))
    sheet = tmp_path / "disc.cue"
    sheet.write_text(cue("disc.bin", ("MODE2/2352", 0), ("AUDIO", len(iso) // 2048)))
    run("bchunk", image, sheet, tmp_path / "chunk")
    source = source_of(image)
    track = raw_tracks(source, sheet.read_text())[0]
    unpacked = opened(tmp_path / "chunk01.iso")
    assert contents_of(reader_of(source, track)) == contents_of(unpacked) == contents_below(tree)
    assert run("bsdtar", "-xOf", tmp_path / "chunk01.iso", "big") == (tree / "big").read_bytes()


def test_any_piece_of_the_view_is_that_piece_of_the_plain_image(tmp_path: Path, iso: bytes) -> None:
    view = SectorView(source_of(written(tmp_path, raw(iso, 1))), 2352, 16, 0)
    numbers = random.Random(2352)
    for _ in range(300):
        start = numbers.randrange(len(iso))
        length = numbers.choice((0, 1, 2048, numbers.randrange(20_000)))
        assert view.read(start, length) == iso[start : start + length].ljust(length, b"\0")
    assert view.read(len(iso) + 5000, 10) == bytes(10)


def test_damage_meets_exactly_the_bytes_of_the_files(tmp_path: Path, iso: bytes) -> None:
    image = written(tmp_path, raw(iso, 1))
    whole = raw_tracks(source_of(image))[0]
    reader = reader_of(source_of(image), whole)
    big = files_of(reader)[b"big"]
    tenth = big.first_byte + 10 * 2352  # user data of its eleventh sector
    cases = {
        (tenth - 16, tenth): (),  # the header alone
        (tenth + 2048, tenth + 2352 - 16): (),  # checksum and error correction alone
        (tenth + 100, tenth + 200): ((10 * 2048 + 100, 10 * 2048 + 200),),
        (tenth - 16, tenth + 2 * 2352 - 16): ((10 * 2048, 12 * 2048),),
        (tenth + 2000, tenth + 2352 + 1): ((10 * 2048 + 2000, 11 * 2048 + 1),),
    }
    for unread, expected in cases.items():
        source = source_of(image, (unread,))
        damaged = reader_of(source, whole)
        assert damaged_ranges(damaged.extents(big.ino), (unread,)) == expected
        content = damaged.read(big.ino, 0, big.size)  # a header that was not read is no foreign sector
        clean = bytearray(reader.read(big.ino, 0, big.size))
        for start, end in expected:
            clean[start:end] = bytes(end - start)
        assert content == clean
        view = SectorView(source, 2352, 16, 0)
        start = (big.first_byte - 16) // 2352 * 2048
        assert view.unread[:-1] == tuple((start + low, start + high) for low, high in expected)


def test_a_cut_image_says_what_is_missing(tmp_path: Path, iso: bytes) -> None:
    image = written(tmp_path, raw(iso, 1))
    reader = reader_of(source_of(image), raw_tracks(source_of(image))[0])
    big = files_of(reader)[b"big"]
    cut = big.first_byte + 7 * 2352 + 1000
    with image.open("r+b") as disc:
        disc.truncate(cut)
    source = source_of(image)
    (track,) = raw_tracks(source)
    short = reader_of(source, track)
    damaged = damaged_ranges(short.extents(big.ino), ((cut, 1 << 63),))
    assert damaged == ((7 * 2048 + 1000, big.size),)
    assert short.read(big.ino, 0, damaged[0][0]) == reader.read(big.ino, 0, damaged[0][0]) != b""
    assert SectorView(source, 2352, 16, 0).unread[0][0] == SectorView(source, 2352, 16, 0).size_bytes


def test_a_sector_that_is_no_data_fails_its_file_and_no_other(tmp_path: Path, tree: Path, iso: bytes) -> None:
    content = bytearray(raw(iso, 1))
    source = source_of(written(tmp_path, bytes(content)))
    entries = files_of(reader_of(source, raw_tracks(source)[0]))
    start = entries[b"big"].first_byte - 16 + 5 * 2352
    other = bytes(content[start - 2352 : start])
    for wrong, why in (
        (bytes(2352), "no sync pattern"),
        (sound(1), "no sync pattern"),
        (other, "another block"),
        (bytes(content[start : start + 15]) + b"\2" + bytes(2336), "mode 2"),
    ):
        content[start : start + 2352] = wrong
        source = source_of(written(tmp_path, bytes(content)))
        reader = reader_of(source, raw_tracks(source)[0])
        with pytest.raises(ReadError, match=why):
            reader.read(entries[b"big"].ino, 0, entries[b"big"].size)
        small = entries[b"folder/deeper/odd"]
        assert reader.read(small.ino, 0, small.size) == (tree / "folder/deeper/odd").read_bytes()


def test_a_directory_in_foreign_sectors_is_a_problem_not_an_empty_folder(tmp_path: Path, iso: bytes) -> None:
    content = bytearray(raw(iso, 1))
    source = source_of(written(tmp_path, bytes(content)))
    walked = list(reader_of(source, raw_tracks(source)[0]).walk())
    folder = next(one for one in walked if isinstance(one, Entry) and one.name == b"folder")
    content[folder.first_byte - 16 :][:2352] = bytes(2352)
    start = folder.first_byte - 16
    content[start : start + 2352] = bytes(2352)
    source = source_of(written(tmp_path, bytes(content)))
    found = list(reader_of(source, raw_tracks(source)[0]).walk())
    assert [one.kind for one in found if isinstance(one, WalkProblem)] == ["directory_unreadable"]


def test_a_broken_header_costs_nothing_where_the_checksum_proves_the_data(
    tmp_path: Path, tree: Path, iso: bytes
) -> None:
    for mode, broken in ((1, b"\x99\x99\x00"), (1, b"\0" * 3), (2, b"\xff" * 3)):
        for checksum in (True, False):
            content = bytearray(raw(iso, mode, checksum=checksum))
            source = source_of(written(tmp_path, bytes(content)))
            big = files_of(reader_of(source, raw_tracks(source)[0]))[b"big"]
            start = big.first_byte // 2352 * 2352 + 2352
            content[start + 12 : start + 15] = broken
            source = source_of(written(tmp_path, bytes(content)))
            reader = reader_of(source, raw_tracks(source)[0])
            if checksum:
                assert reader.read(big.ino, 0, big.size) == (tree / "big").read_bytes()
            else:
                with pytest.raises(ReadError, match="another block"):
                    reader.read(big.ino, 0, big.size)


def test_a_view_may_begin_at_any_block_and_still_knows_its_sectors(tmp_path: Path, iso: bytes) -> None:
    content = bytearray(raw(iso, 1))
    content[40 * 2352 : 41 * 2352] = sound(1)
    view = SectorView(source_of(written(tmp_path, bytes(content))), 2352, 16, 20 * 2352)
    view.strict = True
    assert view.read(0, 20 * 2048) == iso[20 * 2048 : 40 * 2048]
    with pytest.raises(OSError, match=r"block 20 \(byte 94080 of the image\)"):
        view.read(19 * 2048, 4096)


def test_a_hybrid_discs_hfs_side_is_read_through_raw_sectors(tmp_path: Path, tree: Path) -> None:
    plain = made(tmp_path, tree, "-hfs", "-probe")
    source = source_of(written(tmp_path, raw(plain, 1)))
    (track,) = raw_tracks(source)
    start = plain.find(b"BD", 1024)
    while start % 512 or plain[start + 2 : start + 4] == b"\0\0":
        start = plain.find(b"BD", start + 1)
    partition = start - 1024
    volume = replace_struct(
        volume_of(track, partition), fstype="hfs", route=Route.HFS, size_bytes=len(plain) - partition
    )
    reader = open_volume(source, volume)
    walked = [one for one in reader.walk() if isinstance(one, Entry) and one.is_regular and one.name == b"big"]
    assert reader.read(walked[0].ino, 0, walked[0].size) == (tree / "big").read_bytes()
    where = b"".join(
        (tmp_path / "disc.bin").read_bytes()[one.image_offset : one.image_offset + one.image_length]
        for one in reader.extents(walked[0].ino)
    )
    assert where == (tree / "big").read_bytes()
    reader.close()


def test_checksums_that_do_not_fit_are_told(tmp_path: Path, iso: bytes) -> None:
    for mode in (1, 2):
        content = bytearray(raw(iso, mode, checksum=True))
        (track,) = raw_tracks(source_of(written(tmp_path, bytes(content))))
        assert track.remark == ""
        for at in range(1000, len(content), 2352):
            content[at] ^= 1
        (track,) = raw_tracks(source_of(written(tmp_path, bytes(content))))
        assert "disagree with their checksum" in track.remark


def test_ordinary_images_are_not_raw(tmp_path: Path, iso: bytes) -> None:
    assert raw_tracks(source_of(written(tmp_path, iso))) == ()
    assert raw_tracks(source_of(written(tmp_path, iso)), cue("disc.bin", ("MODE1/2048", 0))) == ()
    for content in (bytes(2352 * 50), sound(50), sound(50) + bytes(7), b"", b"\0" + b"\xff" * 10):
        assert raw_tracks(source_of(written(tmp_path, content))) == ()


# ---- several tracks


def test_sound_behind_data_is_a_track_of_its_own_with_or_without_a_sheet(
    tmp_path: Path, tree: Path, iso: bytes
) -> None:
    image = written(tmp_path, raw(iso, 1), sound(1000))
    sectors = len(iso) // 2048
    source = source_of(image)
    for sheet in ("", cue("disc.bin", ("MODE1/2352", 0), ("AUDIO", sectors), ("AUDIO", sectors + 600))):
        tracks = raw_tracks(source, sheet)
        assert [track.mode for track in tracks] == (["mode1", "audio", "audio"] if sheet else ["mode1", "audio"])
        assert [(track.start_bytes, track.end_bytes) for track in tracks][:1] == [(0, sectors * 2352)]
        assert tracks[-1].end_bytes == image.stat().st_size
        assert contents_of(reader_of(source, tracks[0])) == contents_below(tree)


def test_plain_sectors_before_sound_are_read_as_they_lie(tmp_path: Path, tree: Path, iso: bytes) -> None:
    source = source_of(written(tmp_path, iso, sound(100)))
    tracks = raw_tracks(source, cue("disc.bin", ("MODE1/2048", 0), ("AUDIO", len(iso) // 2048)))
    assert [(track.mode, track.sector_bytes) for track in tracks] == [("mode1", 0), ("audio", 2352)]
    assert (tracks[0].base_bytes, tracks[0].end_bytes) == (0, len(iso))
    assert contents_of(reader_of(source, tracks[0])) == contents_below(tree)


@pytest.mark.parametrize("layout", ["MODE1/2352", "MODE2/2352", "MODE2/2336", "MODE1/2048"])
def test_data_behind_sound_counts_its_blocks_from_the_start_of_the_disc(
    layout: str, tmp_path: Path, tree: Path
) -> None:
    music = 1200
    first = music + SESSION_GAP
    iso = made(tmp_path, tree, "-C", f"0,{first}")
    data = iso if layout.endswith("48") else raw(iso, int(layout[4]), first)
    if layout.endswith("36"):
        data = b"".join(data[at + 16 : at + 2352] for at in range(0, len(data), 2352))
    image = written(tmp_path, sound(music), data)
    source = source_of(image)
    sheet = cue("disc.bin", ("AUDIO", 0), ("AUDIO", 500), (layout, music))
    for track in [raw_tracks(source, sheet)[2]] + ([raw_tracks(source)[1]] if layout.endswith("52") else []):
        assert track.sessions == (first * 2048,)
        reader = reader_of(source, track, track.sessions[0])
        assert contents_of(reader) == contents_below(tree)
        big = files_of(reader)[b"big"]
        found = b"".join(
            image.read_bytes()[one.image_offset : one.image_offset + one.image_length]
            for one in reader.extents(big.ino)
        )
        assert found == (tree / "big").read_bytes()
    alone = source_of(written(tmp_path, data))
    if not layout.endswith("36"):  # neither addresses nor a sheet: sectors of 2336 bytes alone say nothing
        (track,) = raw_tracks(alone)
        assert track.base_bytes < 0
        assert contents_of(reader_of(alone, track, track.sessions[0])) == contents_below(tree)


def test_of_several_files_the_sheet_speaks_of_the_one_that_is_named(tmp_path: Path, tree: Path, iso: bytes) -> None:
    sheet = cue("Disc (Track 1).bin", ("MODE1/2352", 0)) + 'FILE "C:\\x\\Disc (Track 2).BIN" BINARY\r\n'
    sheet += "TRACK 02 AUDIO\r\nPREGAP 00:02:00\r\nINDEX 00 00:00:00\r\nINDEX 01 00:02:00\r\n"
    data, music = source_of(written(tmp_path, raw(iso, 1))), tmp_path / "music.bin"
    (track,) = raw_tracks(data, sheet, "disc (track 1).bin")
    assert contents_of(reader_of(data, track)) == contents_below(tree)
    music.write_bytes(sound(400))
    (track,) = raw_tracks(source_of(music), sheet, "Disc (Track 2).bin")
    assert (track.number, track.mode, track.end_bytes) == (2, "audio", 400 * 2352)
    (track,) = raw_tracks(data, sheet)  # the sectors tell
    assert (track.mode, track.sessions) == ("mode1", (0,)) and "not known to be one of them" in track.remark


@pytest.mark.parametrize(
    "sheet",
    [
        "this is no cue sheet",
        "FILE x BINARY\nTRACK 01 AUDIO",
        cue("x", ("AUDIO", 0), ("MODE1/2048", 5)).replace("00:00:05", "99:99:99"),
        cue("x", ("MODE1/2048", 0)),
        cue("x", ("MODE1/2448", 0)),
        cue("x", ("AUDIO", 0), ("AUDIO", 7)),
        cue("x", ("MODE1/2352", 10), ("AUDIO", 7)),
        'FILE "x.wav" WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00',
    ],
)
def test_a_sheet_that_does_not_fit_is_not_believed(sheet: str, tmp_path: Path, tree: Path, iso: bytes) -> None:
    source = source_of(written(tmp_path, raw(iso, 1)))
    (track,) = raw_tracks(source, sheet)
    assert "the cue sheet was not used" in track.remark
    assert contents_of(reader_of(source, track)) == contents_below(tree)


def test_a_sheet_that_names_the_wrong_mode_or_too_many_tracks_is_used_as_far_as_it_fits(
    tmp_path: Path, tree: Path, iso: bytes
) -> None:
    source = source_of(written(tmp_path, raw(iso, 1)))
    (track,) = raw_tracks(source, cue("x", ("MODE2/2352", 0), ("AUDIO", 70_000), ("AUDIO", 80_000)))
    assert track.remark == "its sectors are of mode1, not mode2; the image ends before track 2, 3 of the cue sheet"
    assert contents_of(reader_of(source, track)) == contents_below(tree)


# ---- several sessions


def two_raw_sessions(tmp_path: Path, tree: Path, gap: int) -> tuple[bytes, bytes, int]:
    first = made(tmp_path, tree)
    block = len(first) // 2048 + gap
    (tmp_path / "first.iso").write_bytes(first)
    second_tree = small_tree(tmp_path / "tree 2", 2)
    (second_tree / "big").rename(second_tree / "new")
    second = made(tmp_path, second_tree, "-C", f"0,{block}", "-M", tmp_path / "first.iso")
    return first, second, block


def test_a_later_session_reaches_the_files_of_an_earlier_one_over_a_gap_left_out(tmp_path: Path, tree: Path) -> None:
    first, second, block = two_raw_sessions(tmp_path, tree, SESSION_GAP)
    image = written(tmp_path, raw(first, 2), raw(second, 2, block))
    expected = contents_below(tree) | contents_below(tmp_path / "tree 2")
    source = source_of(image)
    (track,) = raw_tracks(source)
    assert track.sessions == (0, block * 2048)
    assert contents_of(reader_of(source, track, 0)) == contents_below(tree)
    assert contents_of(reader_of(source, track, block * 2048)) == expected
    sheet = cue("disc.bin", ("MODE2/2352", 0), ("MODE2/2352", len(first) // 2048))
    one, two = raw_tracks(source, sheet)
    assert (one.sessions, two.sessions) == ((0,), (block * 2048,))
    assert two.base_bytes == one.base_bytes - SESSION_GAP * 2352
    assert contents_of(reader_of(source, one)) == contents_below(tree)
    reader = reader_of(source, two, two.sessions[0])
    assert contents_of(reader) == expected
    bin_bytes = image.read_bytes()
    big = files_of(reader)[b"big"]
    pieces = [bin_bytes[one.image_offset : one.image_offset + one.image_length] for one in reader.extents(big.ino)]
    assert b"".join(pieces) == (tree / "big").read_bytes()


def test_files_of_a_session_that_was_not_imaged_count_as_unread(tmp_path: Path, tree: Path) -> None:
    _, second, block = two_raw_sessions(tmp_path, tree, SESSION_GAP)
    for content in (second, raw(second, 1, block)):
        source = source_of(written(tmp_path, content))
        (track,) = raw_tracks(source)
        assert (track.base_bytes < 0, track.sessions) == (True, (block * 2048,))
        reader = reader_of(source, track, track.sessions[0])
        files = files_of(reader)
        assert set(files) == set(contents_below(tree)) | {b"new"}
        beyond = ((source.size_bytes, 1 << 63),)
        assert damaged_ranges(reader.extents(files[b"big"].ino), beyond) == ((0, files[b"big"].size),)
        new = files[b"new"]
        assert damaged_ranges(reader.extents(new.ino), beyond) == ()
        assert reader.read(new.ino, 0, new.size) == (tmp_path / "tree 2" / "new").read_bytes()


# ---- form 2


def test_the_film_of_a_video_cd_is_refused_and_its_other_files_are_read(tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.write_bytes(random.Random(3).randbytes(70_000))
    film = moving_pictures(tmp_path / "film.mpg", 300)
    image, sheet = tmp_path / "v.bin", tmp_path / "v.cue"
    run("vcdimager", "-q", "-c", sheet, "-b", image, f"--add-file={extra},EXTRA/E.DAT", film)
    source = source_of(image)
    for text, modes in ((sheet.read_text(), ["mode2", "form2"]), ("", ["mode2"])):
        tracks = raw_tracks(source, text)
        assert [track.mode for track in tracks] == modes
        assert "XA form 2" in tracks[-1].remark
        reader = reader_of(source, tracks[0])
        walked = list(reader.walk())
        entries = {one.name: one for one in walked if isinstance(one, Entry)}
        problems = [one for one in walked if isinstance(one, WalkProblem)]
        assert [(one.kind, one.name) for one in problems] == [("bad_record", b"AVSEQ01.DAT")]
        assert reader.read(entries[b"E.DAT"].ino, 0, 70_000) == extra.read_bytes()
        assert reader.read(entries[b"INFO.VCD"].ino, 0, 8) == b"VIDEO_CD"
        with pytest.raises(ReadError, match="form 2"):
            reader.read(entries[b"AVSEQ01.DAT"].ino, 0, 2048)


# ---- hostile images


def test_broken_headers_and_sheets_end_in_tracks_or_read_errors(tmp_path: Path, tree: Path) -> None:
    first, second, block = two_raw_sessions(tmp_path, tree, 500)
    good = raw(first, 1) + sound(300) + raw(second, 1, block)
    numbers = random.Random(9)
    words = ("FILE x BINARY", "TRACK 1 MODE1/2352", "TRACK 2 AUDIO", "TRACK 3 MODE2/2336", "TRACK 4 MODE1/2448")
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(numbers.choice((1, 30, 300))):
            sector = numbers.randrange(len(bad) // 2352) * 2352
            at = sector + numbers.choice((12, 13, 14, 15, 18, numbers.randrange(2352)))
            bad[at] = numbers.choice((0, 0xFF, 0x20, numbers.randrange(256), bad[at] ^ 1))
        sheet = "\n".join(
            f"{numbers.choice(words)}\nINDEX 01 00:{numbers.randrange(9):02}:{numbers.randrange(75):02}"
            for _ in range(numbers.choice((0, 2, 5)))
        )
        unread = tuple((at, at + 5000) for at in sorted(numbers.sample(range(0, len(bad), 9000), 3)))
        source = source_of(written(tmp_path, bytes(bad)), unread)
        for track in raw_tracks(source, f"{words[0]}\n{sheet}"):
            for session in track.sessions:
                read_everything(reader_of(source, track, session), source.size_bytes)


def read_everything(reader: VolumeReader, image_bytes: int) -> None:
    count = 0
    for one in reader.walk():
        count += 1
        if isinstance(one, Entry) and one.is_regular:
            try:
                extents = reader.extents(one.ino)
                assert sum(extent.file_length for extent in extents) == one.size
                assert len(reader.read(one.ino, 0, one.size)) == one.size
            except ReadError:
                continue
    assert count < image_bytes // 34


def test_sectors_that_cannot_be_end_in_a_read_error(tmp_path: Path, iso: bytes) -> None:
    source = source_of(written(tmp_path, raw(iso, 1)))
    (track,) = raw_tracks(source)
    for sector_bytes, data_at in ((2048, 16), (1, 0), (2352, -1), (-5, -9000)):
        with pytest.raises(ReadError, match="no sector"):
            reader_of(source, replace(track, sector_bytes=sector_bytes, data_at=data_at))
    for base in (-(1 << 60), 1 << 60, 5):
        with pytest.raises(ReadError, match="no readable ISO 9660"):
            reader_of(source, replace(track, base_bytes=base))


def test_times_in_the_sheet_are_minutes_seconds_and_frames() -> None:
    assert frames_time(75 * 60 + 76) == "01:01:01"
