"""References at write: canonical form, integrity, the index, and what archiving does."""

from __future__ import annotations

import orjson

from eventdbx import errors, limits
from eventdbx.application.integrity import verify_rest
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Actor
from eventdbx.storage import eventlog, keys
from eventdbx.storage.store import Store, synchronous
from tests.application.referencing import ReferenceCase, link, schema
from tests.storage.stepper import FaultyStore, Stepper

FARM = schema(
    "farm",
    owner=link(aggregate_type="person"),
    friend=link(integrity="weak"),
    site={"type": "object", "properties": {"plot": link(integrity="weak", cascade="nullify")}},
)


class CanonicalTests(ReferenceCase):
    """What is stored of a reference."""

    def setUp(self) -> None:
        super().setUp()
        self.declare(FARM)
        self.write("person/p-1")

    def test_payload_state_and_hash_hold_the_canonical_form(self) -> None:
        """Every spelling becomes domain#type#id, in the payload that is hashed and in the state."""
        payload = {
            "owner": " person#p-1 ",
            "friend": "#f-2",
            "site": {"plot": "GEO#plot#1", "n": 1},
        }
        event = self.write("farm/f-1", payload)
        wanted = {
            "owner": "default#person#p-1",
            "friend": "default#farm#f-2",
            "site": {"plot": "geo#plot#1", "n": 1},
        }
        self.assertEqual(orjson.loads(event.payload), wanted)
        self.assertEqual(self.state("farm/f-1"), wanted)
        again = self.write("farm/f-3", wanted)
        self.assertEqual(again.payload, event.payload)

    def test_other_types_and_other_values_stay(self) -> None:
        """Null stays null, and types without reference columns keep what they were sent."""
        self.write("farm/f-1", {"friend": "#f-2"})
        self.write("farm/f-1", {"friend": None})
        self.assertEqual(self.state("farm/f-1"), {"friend": None})
        self.write("person/p-2", {"owner": "#p-1"})
        self.assertEqual(self.state("person/p-2"), {"owner": "#p-1"})

    def test_patches(self) -> None:
        """A patch is checked and made canonical like any other event."""
        self.write("farm/f-1", {"site": {"plot": "plot#1", "n": 1}})
        self.write(
            "farm/f-1",
            [{"op": "replace", "path": "/site/plot", "value": "plot#2"}],
            kind="patch",
        )
        self.assertEqual(self.state("farm/f-1"), {"site": {"plot": "default#plot#2", "n": 1}})

    def test_size_is_checked_again(self) -> None:
        """A payload that fits only before its references grow is refused."""
        text = "x" * (limits.PAYLOAD_BYTES_MAX - len('{"friend":"#f-2","note":""}'))
        self.assertEqual(
            self.refused("farm/f-1", {"friend": "#f-2", "note": text}),
            "invalid schema: payload_json exceeds maximum size of 262144 bytes",
        )
        self.write("person/p-2", {"friend": "#f-2", "note": text})

    def test_order_of_refusals(self) -> None:
        """The first wrong column is named; within it form, then type, then target."""
        missing = "schema violation: reference owner points to missing aggregate default#person#p"
        for payload, words in (
            ({"friend": "##x"}, "schema violation: reference segments cannot be empty"),
            (
                {"friend": "-a#b#c"},
                "schema violation: reference domain must begin with an ASCII letter or digit",
            ),
            (
                {"owner": "#f-1"},
                "schema violation: reference owner must target aggregate type person",
            ),
            ({"owner": "person#p"}, missing),
            (
                {"friend": "##x", "owner": "person#p"},
                "schema violation: reference segments cannot be empty",
            ),
        ):
            self.assertEqual(self.refused("farm/f-1", payload), words)


class IntegrityTests(ReferenceCase):
    """Which targets a reference may have."""

    def setUp(self) -> None:
        super().setUp()
        self.declare(schema("farm", owner=link(), far=link(tenant="geo", integrity="weak")))

    def test_missing_and_existing(self) -> None:
        """A strong reference needs a target; an archived one will do."""
        self.assertEqual(
            self.refused("farm/f-1", {"owner": "person#p-1"}),
            "schema violation: reference owner points to missing aggregate default#person#p-1",
        )
        self.write("person/p-1")
        self.archive("person/p-1")
        self.write("farm/f-1", {"owner": "person#p-1"})

    def test_target_in_the_same_batch(self) -> None:
        """A target that is written before, in the same step, counts."""
        done = self.writer.write(
            (
                Write("create", "person", "p-1", "changed", "{}"),
                Write("create", "farm", "f-1", "changed", '{"owner":"person#p-1"}'),
            ),
            actor=None,
            render=len,
        )
        self.assertEqual(self.successResultOf(done), 2)

    def test_itself(self) -> None:
        """An aggregate may refer to itself from its second event on."""
        self.assertIn("missing aggregate", self.refused("farm/f-1", {"owner": "#f-1"}))
        self.write("farm/f-1")
        self.write("farm/f-1", {"owner": "#f-1"})

    def test_other_domains(self) -> None:
        """A strong reference never leaves the domain; a weak one may, to the tenant demanded."""
        self.assertEqual(
            self.refused("farm/f-1", {"owner": "geo#person#p-1"}),
            "schema violation: reference owner points to an aggregate the caller cannot access "
            "(geo#person#p-1)",
        )
        self.assertEqual(
            self.refused("farm/f-1", {"far": "person#p-1"}),
            "schema violation: reference far must target tenant/domain geo",
        )
        self.write("farm/f-1", {"far": "geo#person#p-1"})

    def test_closed_targets(self) -> None:
        """Who may not read the target may not refer to it, and does not learn whether it exists."""

        def writes_only(action: str, _resource: str) -> None:
            if action == "aggregate.read":
                raise errors.Unauthorized

        for target in ("person#p-1", "person#p-2"):
            self.assertEqual(
                self.refused("farm/f-1", {"owner": target}, authorise=writes_only),
                "schema violation: reference owner points to an aggregate the caller cannot "
                f"access (default#{target})",
            )
            self.write("person/p-1")

    def test_archived_aggregates_refuse_after_their_references(self) -> None:
        """What is wrong with a reference is told before the archive flag is."""
        self.write("farm/f-1")
        self.archive("farm/f-1")
        self.assertIn("missing aggregate", self.refused("farm/f-1", {"owner": "person#p-1"}))
        self.assertIn("archived", self.refused("farm/f-1", {"owner": "#f-1"}))


class OffTests(ReferenceCase):
    """Mode off."""

    restrict = "off"

    def test_canonical_where_it_parses(self) -> None:
        """References are made canonical, malformed ones stay, and no target is looked for."""
        self.declare(schema("farm", owner=link(aggregate_type="person"), more=link()))
        self.write("farm/f-1", {"owner": "#nobody", "more": "no reference"})
        self.assertEqual(
            self.state("farm/f-1"), {"owner": "default#farm#nobody", "more": "no reference"}
        )
        self.assertEqual([one[:2] for one in self.referrers("farm/nobody")], [("farm", "f-1")])


class IndexTests(ReferenceCase):
    """Who refers to an aggregate."""

    def setUp(self) -> None:
        super().setUp()
        self.declare(FARM)
        self.write("person/p-1")

    def test_follows_the_state(self) -> None:
        """An event that does not mention a field leaves its entry; other values move it."""
        self.write("farm/f-1", {"owner": "person#p-1", "site": {"plot": "person#p-1"}})
        self.write("farm/f-1", {"name": "unrelated"})
        self.assertEqual(
            self.referrers("person/p-1"),
            [("farm", "f-1", "owner"), ("farm", "f-1", "site.plot")],
        )
        self.write("farm/f-1", {"site": {}})
        self.write("farm/f-1", {"friend": "farm#f-9"})
        self.assertEqual(self.referrers("person/p-1"), [("farm", "f-1", "owner")])
        self.assertEqual(self.referrers("farm/f-9"), [("farm", "f-1", "friend")])
        self.write("farm/f-1", {"friend": None})
        self.assertEqual(self.referrers("farm/f-9"), [])

    def test_neighbours_are_not_met(self) -> None:
        """The referrers of p-1 are not those of p-10, nor of another domain's p-1."""
        self.write("farm/f-1", {"friend": "person#p-10"})
        self.write("farm/f-2", {"friend": "geo#person#p-1"})
        self.assertEqual(self.referrers("person/p-1"), [])

    def test_twice_in_one_batch(self) -> None:
        """What comes and goes within one batch leaves nothing."""
        payloads = ('{"friend":"farm#a"}', '{"friend":"farm#b"}')
        writes = [Write("append", "farm", "f-1", "changed", one) for one in payloads]
        done = self.writer.write(writes, actor=None, render=len)
        self.successResultOf(done)
        self.assertEqual(self.index(), {("default", "farm", "b", "farm", "f-1", "friend")})

    def test_new_columns(self) -> None:
        """References that states held before their column was declared are found at once."""
        self.write("dog/d-1", {"owner": "person#p-1", "site": {"plot": "#d-2"}})
        self.write("dog/d-2", {"owner": "nonsense"})
        self.archive("dog/d-1")
        dog = FARM | {"aggregate": "dog"}
        self.declare(FARM, dog)
        self.assertEqual(self.referrers("person/p-1"), [("dog", "d-1", "owner")])
        self.assertEqual(self.referrers("dog/d-2"), [("dog", "d-1", "site.plot")])
        self.declare(FARM, schema("dog", owner=link()))
        self.assertEqual(self.referrers("dog/d-2"), [])
        self.declare(FARM)
        self.assertEqual(self.index(), set())

    def test_upcasters(self) -> None:
        """When old events read otherwise, so does the index."""
        self.write("farm/f-1", {"boss": "person#p-1"})
        steps = [{"op": "rename", "from": "/boss", "to": "/friend"}]
        lifting = FARM | {"events": {"changed": {"fields": [], "upcast": [steps]}}}
        self.declare(lifting)
        self.assertEqual(self.referrers("person/p-1"), [("farm", "f-1", "friend")])
        self.assertEqual(self.faults(), [])
        self.write("farm/f-1", {"friend": None})
        self.assertEqual(self.referrers("person/p-1"), [])
        self.declare(FARM)
        self.assertEqual(self.faults(), [])

    def test_types_without_references_cost_nothing(self) -> None:
        """Events of types without reference columns put nothing in the index."""
        self.write("person/p-2", {"owner": "person#p-1"})
        self.assertEqual(self.index(), set())

    def test_restored_aggregates_still_refer(self) -> None:
        """Archiving who refers changes nothing in the index."""
        self.write("farm/f-1", {"friend": "person#p-1"})
        before = self.index()
        self.archive("farm/f-1")
        self.assertEqual(self.index(), before)
        self.archive("farm/f-1", archived=False)
        self.assertEqual(self.index(), before)

    def test_verification(self) -> None:
        """Verification names what the index lacks and what it holds too much of."""
        self.write("farm/f-1", {"friend": "person#p-1"})
        name = keys.name("farm", "f-1")
        true = keys.referrer("default", "person", "p-1", name, "friend")
        false = keys.referrer("default", "person", "p-2", name, "owner")
        self.assertEqual(list(verify_rest(self.store.view(), domain="default")), [])
        self.backend.write({true: None, false: b""}, sync=True)
        self.store = Store(self.backend, hop=synchronous())
        found = list(verify_rest(self.store.view(), domain="default"))
        begin = "storage error: integrity check failed for farm::f-1: the index of referrers"
        self.assertEqual(
            [one.message for one in found],
            [
                f"{begin} lacks default#person#p-1 at friend",
                f"{begin} holds what no state says, default#person#p-2 at owner",
            ],
        )
        self.assertEqual([one[:3] for one in found], [("farm", "f-1", 0)] * 2)
        hidden = verify_rest(self.store.view(), domain="default", shows=lambda kind: kind != "farm")
        self.assertEqual([one[:3] for one in hidden], [("", "", 0)] * 2)

    def test_crash(self) -> None:
        """After a crash at any point the index is that of the states."""
        self.backend = FaultyStore()
        hop = Stepper(patient=True)
        self.open(hop)
        self.schemas.replace(self.schemas.prepare(orjson.dumps({"farm": FARM})))
        hop.turn()
        hop.settle()
        seen = set()
        for number in range(4):
            for farm in ("f-1", "f-2"):
                self.writing(f"farm/{farm}", {"site": {"plot": f"farm#f-{number}"}})
            self.archiving("farm/f-1")  # Clears what the second farm has just come to hold.
            self.archiving("farm/f-1", archived=False)
            while hop.departures or hop.underway:
                # What a process would find that started now, after the death of this one.
                living = self.store, self.schemas, self.writer
                self.open(synchronous())
                self.assertEqual(self.faults(), [])
                seen.add(frozenset(self.index()))
                self.store, self.schemas, self.writer = living
                if hop.departures:
                    hop.turn()
                else:
                    hop.step()
        self.assertEqual(len(seen), 5)  # Empty at first, then one after each commit.


class ArchiveTests(ReferenceCase):
    """What becomes of references to an archived aggregate."""

    def setUp(self) -> None:
        super().setUp()
        self.declare(
            schema(
                "farm",
                holds=link(cascade="restrict"),
                knows=link(),
                likes=link(integrity="weak", cascade="nullify"),
                site={
                    "type": "object",
                    "properties": {"a": link(cascade="nullify"), "b": link(cascade="nullify")},
                },
            )
        )
        self.write("person/p-1")

    def test_none_leaves_references_alone(self) -> None:
        """A reference with cascade none neither blocks nor changes."""
        self.write("farm/f-1", {"knows": "person#p-1"})
        self.assertTrue(self.archive("person/p-1").archived)
        self.assertEqual(self.state("farm/f-1"), {"knows": "default#person#p-1"})

    def test_restrict_blocks(self) -> None:
        """The first five that hold the aggregate are named, and nothing is written."""
        self.write("farm/g-1", {"likes": "person#p-1"})
        for number in range(7):
            self.write(f"farm/f-{number}", {"holds": "person#p-1"})
        named = ", ".join(f"default:farm:f-{number} (holds)" for number in range(5))
        self.assertEqual(
            self.archive_refused("person/p-1"),
            f"aggregate person:p-1 cannot be archived; referenced by {named}",
        )

    def test_archived_and_own_references_do_not_block(self) -> None:
        """Neither an archived referrer nor the aggregate itself keeps it."""
        self.write("farm/f-1", {"holds": "person#p-1"})
        self.archive("farm/f-1")
        self.archive("person/p-1")
        self.write("farm/f-2")
        self.write("farm/f-2", {"holds": "#f-2", "likes": "#f-2"})
        self.assertEqual(self.archive("farm/f-2").version, 2)

    def test_repeating_and_restoring_ask_nobody(self) -> None:
        """Only the step from active to archived looks at references."""
        self.archive("person/p-1")
        self.write("farm/f-1", {"holds": "person#p-1"})
        self.archive("person/p-1")
        self.archive("person/p-1", archived=False)
        self.assertIn("cannot be archived", self.archive_refused("person/p-1"))

    def test_nullify(self) -> None:
        """Each referrer gets one event that clears its references, whoever may not write it."""
        other = "default#person#p-2"
        self.write("person/p-2")
        self.write(
            "farm/f-1",
            {
                "name": "n",
                "likes": "person#p-1",
                "site": {"a": "person#p-1", "b": "person#p-1", "zip": 7},
            },
        )
        self.write("farm/f-2", {"site": {"a": "person#p-1", "b": other}})
        self.archive("person/p-1")
        (event,) = eventlog.events(self.store.view(), keys.name("farm", "f-1"), after=1)
        self.assertEqual((event.event_type, event.event_type_raw), ("_ref_nullify",) * 2)
        self.assertEqual(event.note, "auto-nullify due to default#person#p-1")
        self.assertIsNone(event.issued_by)
        self.assertEqual(
            orjson.loads(event.payload),
            {"likes": None, "site": {"a": None, "b": None, "zip": 7}},
        )
        self.assertEqual(self.state("farm/f-2"), {"site": {"a": None, "b": other}})
        self.assertEqual(self.referrers("person/p-1"), [])
        self.assertEqual(len(self.referrers("person/p-2")), 1)

    def test_nullify_and_archive_are_one_step(self) -> None:
        """When anything blocks, nothing is cleared; a crash leaves all of it or nothing."""
        self.write("farm/f-1", {"likes": "person#p-1"})
        self.write("farm/f-2", {"holds": "person#p-1"})
        self.archive_refused("person/p-1")
        self.assertEqual(self.state("farm/f-1"), {"likes": "default#person#p-1"})
        self.write("farm/f-2", {"holds": None})
        before = len(list(self.store.view().scan(keys.LOG, keys.after(keys.LOG))))
        self.archive("person/p-1")
        after = len(list(self.store.view().scan(keys.LOG, keys.after(keys.LOG))))
        self.assertEqual(after, before + 1)
        self.assertEqual(self.faults(), [])

    def test_locked_and_strict_types_are_cleared(self) -> None:
        """A lock binds clients, not the server's own event."""
        self.write("farm/f-1", {"likes": "person#p-1"})
        locked = schema("farm", likes=link(cascade="nullify")) | {"locked": True}
        self.declare(locked)
        self.archive("person/p-1")
        self.assertEqual(self.state("farm/f-1"), {"likes": None})

    def test_spellings_meet(self) -> None:
        """References that were stored before their column was declared are cleared, too."""
        self.write("dog/d-1", {"owner": " person#p-1"})
        self.declare(schema("dog", owner=link(cascade="nullify")))
        self.archive("person/p-1")
        self.assertEqual(self.state("dog/d-1"), {"owner": None})

    def test_actor_is_not_needed(self) -> None:
        """Who may archive the target need not be able to write the referrers."""
        self.write("farm/f-1", {"likes": "person#p-1"})
        asked: list[tuple[str, str]] = []
        done = self.writer.archive(
            "person",
            "p-1",
            archived=True,
            comment=None,
            actor=Actor("ops", "kim"),
            authorise=lambda *question: asked.append(question),
            render=lambda head: head,
        )
        self.successResultOf(done)
        self.assertEqual(asked, [("aggregate.archive", "aggregate:person:p-1")])


class NoneBlocksTests(ReferenceCase):
    """The switch for what other EventDBX releases do."""

    none_blocks = True

    def test_none_blocks(self) -> None:
        """A reference with cascade none keeps its target."""
        self.declare(schema("farm", knows=link()))
        self.write("person/p-1")
        self.write("farm/f-1", {"knows": "person#p-1"})
        self.assertEqual(
            self.archive_refused("person/p-1"),
            "aggregate person:p-1 cannot be archived; referenced by default:farm:f-1 (knows)",
        )
