"""Following references: statuses, depth, cycles, domains, bounds."""

from __future__ import annotations

from typing import Any

import orjson

from eventdbx.application.resolving import Place, Resolver
from eventdbx.domain.aggregate import aggregate_document
from tests.application.referencing import ReferenceCase, link, names, schema


class ResolvingTests(ReferenceCase):
    """Resolved forms of one domain."""

    def setUp(self) -> None:
        super().setUp()
        site = {"type": "object", "properties": {"plot": link(integrity="weak")}}
        self.declare(
            schema("farm", owner=link(integrity="weak"), next=link(integrity="weak"), site=site),
            schema("person", boss=link(integrity="weak")),
        )

    def place(self, domain: str = "default", visible: Any = lambda kind, name: True) -> Place:
        """Return the domain as somebody sees it."""
        return Place(domain, self.reader, self.schemas.in_force.reference_paths, visible)

    def form(self, place: str, *, depth: int = 2, resolver: Resolver | None = None) -> Any:
        """Return the resolved form of ``type/id``."""
        head = self.reader.aggregate(*names(place))
        assert head is not None
        resolver = resolver or Resolver(self.place())
        return orjson.loads(resolver.form(head, aggregate_document(head), depth=depth))

    def statuses(self, form: Any) -> Any:
        """Return the tree of statuses: path to status, or to the tree behind it."""
        return {
            one["path"]: self.statuses(one["resolved"]) if one["status"] == "ok" else one["status"]
            for one in form.get("references", [])
        }

    def test_shape(self) -> None:
        """A form has domain, aggregate and, if there are any, references with their targets."""
        self.write("person/p-1", {"name": "Ann"})
        self.write("farm/f-1", {"site": {"plot": "person#p-1"}, "owner": None})
        form = self.form("farm/f-1")
        self.assertEqual(list(form), ["domain", "aggregate", "references"])
        self.assertEqual(form["domain"], "default")
        (entry,) = form["references"]
        target = entry["resolved"]["aggregate"]
        self.assertEqual(target["state"], {"name": "Ann"})
        self.assertEqual(
            entry,
            {
                "path": "site.plot",
                "reference": {
                    "domain": "default",
                    "aggregate_type": "person",
                    "aggregate_id": "p-1",
                },
                "status": "ok",
                "resolved": {"domain": "default", "aggregate": target},
            },
        )

    def test_statuses(self) -> None:
        """What is missing, closed, elsewhere or malformed is said, each in its place."""
        self.write("dog/d-1", {"owner": "no reference", "next": "#d-2", "site": {"plot": 7}})
        self.write("dog/d-2", {"owner": "geo#person#p-1", "next": "secret#s-1"})
        self.write("secret/s-1")
        own = schema("dog", owner=link(integrity="weak"), next=link(integrity="weak"))
        self.declare(own)
        resolver = Resolver(self.place(visible=lambda kind, _name: kind != "secret"))
        form = self.form("dog/d-1", resolver=resolver)
        inner = {"owner": "forbidden", "next": "forbidden"}
        self.assertEqual(self.statuses(form), {"owner": "not_found", "next": inner})
        self.assertEqual(form["references"][1]["reference"]["aggregate_id"], "no reference")
        self.assertEqual(resolver.missed, {"geo"})

    def test_depth(self) -> None:
        """Each level takes one; at none left references are listed, not followed."""
        for number in range(4):
            self.write(f"farm/f-{number}", {"next": f"#f-{number + 1}"})
        self.assertEqual(self.statuses(self.form("farm/f-0", depth=0)), {"next": "depth_exceeded"})
        self.assertEqual(
            self.statuses(self.form("farm/f-0", depth=2)),
            {"next": {"next": {"next": "depth_exceeded"}}},
        )
        self.assertEqual(
            self.statuses(self.form("farm/f-0", depth=5)),
            {"next": {"next": {"next": {"next": "not_found"}}}},
        )

    def test_cycles(self) -> None:
        """An aggregate above is not entered again; two branches may meet in one."""
        self.write("person/p-1", {"boss": "person#p-1"})
        self.write("farm/f-1", {"owner": "person#p-1", "next": "#f-2"})
        self.write("farm/f-2", {"owner": "person#p-1", "next": "#f-1"})
        self.assertEqual(
            self.statuses(self.form("farm/f-1", depth=5)),
            {"owner": {"boss": "cycle"}, "next": {"owner": {"boss": "cycle"}, "next": "cycle"}},
        )

    def test_hidden(self) -> None:
        """Hidden types are not found, and references in hidden fields are not there."""
        self.write("person/p-1")
        self.write("farm/f-1", {"owner": "person#p-1", "next": "#f-1"})
        farm = schema("farm", owner=link(), next=link())
        person = schema("person") | {"hidden": True}
        self.declare(farm, person)
        self.assertEqual(
            self.statuses(self.form("farm/f-1")), {"owner": "not_found", "next": "cycle"}
        )
        self.declare(farm | {"hidden_fields": ["owner"]}, person)
        self.assertEqual(self.statuses(self.form("farm/f-1")), {"next": "cycle"})

    def test_other_domains(self) -> None:
        """A domain that is open is followed, with its own schemas; names count within it."""
        self.write("farm/f-1", {"owner": "geo#farm#f-1"})
        # The same aggregates again as another domain: what it says refers to that one.
        places = {"geo": self.place("geo"), "closed": None}
        form = self.form("farm/f-1", resolver=Resolver(self.place(), places))
        self.assertEqual(self.statuses(form), {"owner": {"owner": "cycle"}})
        self.assertEqual(form["references"][0]["resolved"]["domain"], "geo")
        self.write("farm/f-1", {"owner": "closed#farm#f-1"})
        resolver = Resolver(self.place(), places)
        self.assertEqual(
            self.statuses(self.form("farm/f-1", resolver=resolver)), {"owner": "forbidden"}
        )
        self.assertEqual(resolver.missed, set())

    def test_bounds(self) -> None:
        """Beyond what one request may fetch, references are listed only."""
        self.write("person/p-1", {"name": "x" * 1_000})
        self.write("farm/f-1", {"owner": "person#p-1", "next": "person#p-1"})
        wanted = {"next": {}, "owner": "depth_exceeded"}
        few = Resolver(self.place(), fetches_max=1)
        short = Resolver(self.place(), bytes_max=1_000)
        for resolver in (few, short):
            form = self.form("farm/f-1", resolver=resolver)
            self.assertEqual(self.statuses(form), wanted)
