"""What every store must do with batches that come to it through a lane."""

import os
import stat
from pathlib import Path

import pytest

from cachemig.agent.protocol import Outcome
from cachemig.errors import AccessError, ConnectionLostError
from tests.cache_files import OLD_NS, archive, contents, long_name, object_path, put, sha256
from tests.nobody import give_to_nobody, open_folder
from tests.stores.ways import Ground, Way, send, wanted_file

OVER_A_FRAME = 700_000
HOSTILE = {
    "parent": "../x",
    "absolute": "/tmp/cachemig-hostile",
    "through-parent": "a/../../x",
    "empty-part": "a//x",
    "trailing-slash": "a/x/",
    "dot": "./x",
    "empty": "",
    "nul": "a\0x",
    "10000-bytes": "x" * 10_000,
    "5000-parts": "a/" * 5_000 + "x",
    "lone-surrogate": "a/\ud800",
}


class BatchContract:
    """Files come in whole, under their own names, beside what is there already."""

    def test_a_published_file_has_its_bytes_time_and_modes(self, ground: Ground):
        """Files 0664 and directories 2775, so that every builder can use them; no temp is left."""
        files = {
            "3f/a1/sstate:a.tar.zst.siginfo": b"",
            "3f/a1/sstate:a.tar.zst": archive(1, OVER_A_FRAME),
            "universal/3f/a1/sstate:b.tar.zst": archive(2, 256 * 1024 * 2),
        }
        for name, content in files.items():
            put(ground.source, name, content)

        receipts = ground.bring(*files)

        assert contents(ground.target) == files
        for name, content in files.items():
            there = (ground.target / name).stat()
            told = receipts[name]
            assert (stat.S_IMODE(there.st_mode), there.st_nlink) == (0o664, 1)
            assert there.st_mtime_ns == told.mtime_ns == OLD_NS
            assert (told.outcome, told.sha256) == (Outcome.PUBLISHED, sha256(content))
            assert told.size_bytes == len(content)
        for folder in ("3f", "3f/a1", "universal", "universal/3f/a1"):
            assert stat.S_IMODE((ground.target / folder).stat().st_mode) == 0o2775

    def test_receipts_at_the_root_say_what_was_published(self, ground: Ground):
        """They stay with the bytes, so that integrity can be proved without the old site."""
        put(ground.source, "3f/sstate:a.tar.zst", archive(3))
        put(ground.source, "3f/sstate:b.tar.zst", b"")

        ground.bring("3f/sstate:a.tar.zst", "3f/sstate:b.tar.zst")

        ours = f"{ground.folder}/3f/"
        kept = list(ground.store.receipts())
        (receipt,) = [r for r in kept if r is not None and r.path.startswith(ours)]
        assert receipt.path == receipt.source_path == f"{ours}sstate:a.tar.zst"
        assert receipt.sha256 == sha256(archive(3))
        assert receipt.size_bytes == len(archive(3))
        assert (receipt.source_site, receipt.source_server) == ("old", "nfs-9")
        assert None not in kept

    def test_what_is_present_is_never_overwritten(self, ground: Ground):
        """Equal size is present, another size foreign, and a broken archive damaged."""
        sent, others = archive(4), archive(5, 4000)
        there = {
            "present": bytes(len(sent)),
            "foreign": others,
            "damaged": others[:-1],
        }
        names = {kind: f"3f/sstate:{kind}.tar.zst" for kind in there}
        for kind, content in there.items():
            put(ground.source, names[kind], sent)
            put(ground.target, names[kind], content, OLD_NS - 5)

        receipts = ground.bring(*names.values())

        assert {k: receipts[n].outcome.value for k, n in names.items()} == {k: k for k in there}
        assert contents(ground.target) == {names[k]: content for k, content in there.items()}
        assert not any(receipt.sha256 for receipt in receipts.values())

    def test_a_source_that_is_gone_or_broken_brings_nothing(self, ground: Ground):
        """Vanished and damaged files are told; the others of the batch arrive."""
        put(ground.source, "3f/sstate:cut.tar.zst", archive(6, OVER_A_FRAME)[:-1])
        put(ground.source, "3f/sstate:empty.tar.zst", b"")
        put(ground.source, "3f/sstate:good.tar.zst", archive(7))
        names = [f"3f/sstate:{n}.tar.zst" for n in ("gone", "cut", "empty", "good")]

        receipts = ground.bring(*names)

        assert [receipts[name].outcome.value for name in names] == [
            "vanished",
            "damaged",
            "damaged",
            "published",
        ]
        assert contents(ground.target) == {"3f/sstate:good.tar.zst": archive(7)}

    def test_a_source_that_grows_on_the_way_is_changed(self, ground: Ground, way: Way):
        """No mixture of old and new bytes arrives, nor any temp."""
        name = "3f/sstate:a.tar.zst.siginfo"
        source = put(ground.source, name, os.urandom(3_000_000))
        place = ground.place
        lane = way.lane(way.rooted(place.source_root), place.root, dial_source=False)
        try:
            lane.send([wanted_file(f"{ground.folder}/{name}")], 2_000_000)
            answers = lane.answers()
            assert next(answers).sent_bytes < source.stat().st_size
            with source.open("ab") as file:
                file.write(b"more")
            (last,) = [answer for answer in answers if answer.receipts is not None]
        finally:
            lane.close()

        assert last.receipts is not None
        assert last.receipts[0].outcome is Outcome.CHANGED
        assert contents(ground.target) == {}

    def test_a_link_at_the_final_name_is_replaced(self, ground: Ground):
        """BitBake leaves links after a hit on a mirror; what they lead to is not touched."""
        outside = put(ground.place.root.parent, f"{ground.folder}-elsewhere", b"mine")
        name, dangling = "3f/sstate:a.tar.zst", "3f/sstate:b.tar.zst"
        for path, target in ((name, outside), (dangling, "nowhere")):
            put(ground.source, path, archive(8))
            (ground.target / path).parent.mkdir(exist_ok=True)
            (ground.target / path).symlink_to(target)

        receipts = ground.bring(name, dangling)

        assert {receipt.outcome for receipt in receipts.values()} == {Outcome.PUBLISHED}
        assert contents(ground.target) == {name: archive(8), dangling: archive(8)}
        assert outside.read_bytes() == b"mine"

    def test_no_archive_comes_without_its_companion(self, ground: Ground):
        """Where a companion can not be published, the archive fails too, and says why."""
        for name in ("3f/sstate:a.tar.zst.siginfo", "3f/sstate:a.tar.zst", "3f/sstate:b.tar.zst"):
            put(ground.source, name, archive(9))
        (ground.target / "3f/sstate:a.tar.zst.siginfo").mkdir(parents=True)

        receipts = ground.bring(
            "3f/sstate:a.tar.zst.siginfo", "3f/sstate:a.tar.zst", "3f/sstate:b.tar.zst"
        )

        assert [receipt.outcome.value for receipt in receipts.values()] == [
            "failed",
            "failed",
            "published",
        ]
        assert "companion" in receipts["3f/sstate:a.tar.zst"].cause
        assert contents(ground.target) == {"3f/sstate:b.tar.zst": archive(9)}

    def test_the_longest_and_the_oddest_names_arrive_as_they_are(self, ground: Ground):
        """Names of 254 bytes, and names that are no UTF-8 or hold control characters."""
        odd = os.fsdecode(b"sstate:\xff\xc3:\n\t\x1b[0m ~%41$(id)'\"\\:x")
        files = {f"3f/a1/{long_name()}": b"long", f"3f/a1/{odd}": b"odd", "3f/é/ü": b"text"}
        for name, content in files.items():
            put(ground.source, name, content)

        receipts = ground.bring(*files)

        assert {receipt.outcome for receipt in receipts.values()} == {Outcome.PUBLISHED}
        assert contents(ground.target) == files

    @pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
    def test_a_name_that_could_lead_outside_is_rejected(self, ground: Ground, path: str):
        """At the destination and at the source; the rest of the batch arrives."""
        folder = ground.folder
        good, ours = f"{folder}/3f/good", f"{folder}/3f/a"
        put(ground.place.source_root, good, b"good")
        sentinel = put(ground.place.root.parent, "x", b"sentinel")
        before = contents(ground.place.root.parent / "old")

        receipts = send(
            ground.place.lane,
            [
                wanted_file(path, source_path=good),
                wanted_file(ours, source_path=path),
                wanted_file(good),
            ],
        )

        assert [receipt.outcome.value for receipt in receipts] == [
            "rejected",
            "rejected",
            "published",
        ]
        assert contents(ground.target) == {"3f/good": b"good"}
        assert sentinel.read_bytes() == b"sentinel"
        assert contents(ground.place.root.parent / "old") == before
        assert not Path("/tmp/cachemig-hostile").exists()

    def test_a_directory_of_the_destination_that_is_a_link_is_never_entered(self, ground: Ground):
        """Whoever swaps a slot for a link gets nothing written where it leads."""
        outside = put(ground.place.root.parent, f"{ground.folder}-outside/keep", b"mine").parent
        (ground.target / "3f").symlink_to(outside)
        put(ground.source, "3f/sstate:a.tar.zst", archive(10))
        put(ground.source, "4f/sstate:a.tar.zst", archive(10))

        receipts = ground.bring("3f/sstate:a.tar.zst", "4f/sstate:a.tar.zst")

        assert [r.outcome.value for r in receipts.values()] == ["failed", "published"]
        assert receipts["3f/sstate:a.tar.zst"].cause
        assert contents(outside) == {"keep": b"mine"}

    def test_a_link_at_the_source_is_followed_below_its_root_only(self, ground: Ground):
        """One that leads elsewhere could carry any file of the server away."""
        secret = put(ground.place.source_root.parent, f"{ground.folder}-secret", b"secret")
        put(ground.source, "3f/sstate:real.tar.zst", archive(11))
        (ground.source / "3f/sstate:in.tar.zst").symlink_to("sstate:real.tar.zst")
        (ground.source / "3f/sstate:out.tar.zst").symlink_to(secret)

        receipts = ground.bring("3f/sstate:in.tar.zst", "3f/sstate:out.tar.zst")

        assert [r.outcome.value for r in receipts.values()] == ["published", "rejected"]
        assert contents(ground.target) == {"3f/sstate:in.tar.zst": archive(11)}
        assert not (ground.target / "3f/sstate:in.tar.zst").is_symlink()

    def test_forbidden_files_and_directories_fail_singly(self, way: Way):
        """Each says why in the words of the server; the rest of the batch arrives."""
        with open_folder() as folder:
            source, root = folder / "old", folder / "new"
            for path in ("3f/open", "3f/closed", "4f/open"):
                give_to_nobody(put(source, path, b"12345"))
            (source / "3f/closed").chmod(0o000)
            for slot in ("3f", "4f"):
                (root / slot).mkdir(parents=True)
            give_to_nobody(root, root / "3f", root / "4f")
            (root / "4f").chmod(0o555)
            ends = [way.rooted(p)._replace(argv=way.nobodys_argv) for p in (source, root)]
            lane = way.lane(ends[0], root, destination=ends[1])
            try:
                receipts = send(lane, [wanted_file(p) for p in ("3f/open", "3f/closed", "4f/open")])
            finally:
                lane.close()
            found = contents(root)

        assert [r.outcome.value for r in receipts] == ["published", "failed", "failed"]
        assert [r.cause for r in receipts[1:]] == ["Permission denied"] * 2
        assert found == {"3f/open": b"12345"}

    def test_a_group_that_can_not_be_set_is_refused_before_the_first_byte(self, way: Way):
        """Files that builders can not read would be worse than none."""
        with open_folder() as folder:
            source, root = folder / "old", folder / "new"
            give_to_nobody(put(source, "3f/a", b"1"))
            root.mkdir()
            give_to_nobody(root)
            target = way.rooted(root)._replace(argv=way.nobodys_argv, group="root")
            with pytest.raises(AccessError, match="group") as caught:
                way.lane(way.rooted(source), root, destination=target)
            assert contents(root) == {}
        assert not isinstance(caught.value, ConnectionLostError)
        assert caught.value.server == "nfs-9"

    def test_batches_in_flight_are_all_answered(self, ground: Ground):
        """More than one batch may be under way; each gets receipts of its own."""
        paths = [object_path(ground.folder, number) for number in range(60)]
        for number, path in enumerate(paths):
            put(ground.place.source_root, path, archive(number))
        lane = ground.place.lane

        numbers = [
            lane.send([wanted_file(path) for path in paths[at : at + 10]], 0)
            for at in range(0, 60, 10)
        ]
        answered = {a.number: a.receipts for a in lane.answers() if a.receipts is not None}

        assert sorted(answered) == sorted(numbers)
        told = [receipt for number in numbers for receipt in answered[number] or ()]
        assert [receipt.path for receipt in told] == paths
        assert [r.sha256 for r in told] == [sha256(archive(n)) for n in range(60)]
