"""Schemas over the Admin API of a running server."""

from __future__ import annotations

from typing import Any

from tests.surfaces.admin.visiting import Visit

MEMBERS = (
    "aggregate snapshot_threshold locked field_locks hidden hidden_fields column_types events "
    "created_at updated_at"
).split()


class SchemaVisit(Visit):
    """Each test has a schema of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.name = "t_" + self.id().rpartition(".")[2].removeprefix("test_")
        self.path = f"/schemas/{self.name}"

    def create(self, *events: str, name: str | None = None) -> Any:
        """Declare a schema."""
        body = {"aggregate": name or self.name, "events": [*events] or ["made", "paid"]}
        return self.good(201, "POST", "/schemas", body)


class OneSchema(SchemaVisit):
    """Life of a schema."""

    def test_create_and_read(self) -> None:
        """A schema that was declared is answered, listed, and known to the control protocol."""
        answer = self.call(
            "POST", "/schemas", {"aggregate": self.name, "events": ["paid", "made", "made"]}
        )
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers["location"], f"/admin/schemas/{self.name}")
        self.assertEqual(list(answer.document), MEMBERS)
        self.assertEqual(list(answer.document["events"]), ["made", "paid"])
        self.assertIsNone(answer.document["snapshot_threshold"])
        self.assertEqual(self.good(200, "GET", self.path), answer.document)
        self.assertIn(answer.document, self.good(200, "GET", "/schemas"))
        self.assertIn(self.name, self.place.workspace.run("schema", "list"))

    def test_names_are_data(self) -> None:
        """Words and options of commands are names like others; blanks and commas are refused."""
        for word in ("list", "--help", "create", "%20", "nope", "T_NAMES"):
            message = self.refused(404, "GET", f"/schemas/{word}")
            self.assertEqual(message, "schema not found")
        for body, message in (
            ({"aggregate": " ", "events": ["a"]}, "aggregate name must be provided"),
            ({"aggregate": "", "events": ["a"]}, "aggregate name must be provided"),
            ({"aggregate": "x", "events": []}, "at least one event must be provided"),
            ({"aggregate": "x", "events": [""]}, "event names cannot be empty"),
            ({"aggregate": "x", "events": ["a,b"]}, "event name 'a,b' cannot hold a comma"),
        ):
            found = self.refused(400, "POST", "/schemas", body)
            self.assertEqual(found, f"invalid schema: {message}")
        self.create("a_b", name="with/slash")
        self.assertEqual(self.good(200, "GET", "/schemas/with%2Fslash")["aggregate"], "with/slash")

    def test_exists(self) -> None:
        """A schema is declared once."""
        self.create()
        message = self.refused(409, "POST", "/schemas", {"aggregate": self.name, "events": ["x"]})
        self.assertEqual(message, "schema already exists")

    def test_names_that_no_event_can_have(self) -> None:
        """They are accepted with a warning in the answer and in the log."""
        answer = self.call("POST", "/schemas", {"aggregate": "t-hyphen", "events": ["a-b"]})
        self.assertEqual(answer.status, 201)
        self.assertIn("can never match an event", answer.headers["x-eventdbx-warnings"])
        self.assertIn("aggregate 't-hyphen' can never match", self.place.workspace.log)

    def test_wrong_shapes(self) -> None:
        """A body of another shape is refused before anything is done, and says where."""
        self.create()
        for method, path, body, pointer in (
            ("POST", "/schemas", {"events": ["a"]}, ""),
            ("POST", "/schemas", {"aggregate": "x", "events": "a"}, "/events"),
            ("POST", "/schemas", {"aggregate": "x", "events": ["a"], "snapshot_threshold": -1},
             "/snapshot_threshold"),
            ("PATCH", self.path, {"locked": "yes"}, "/locked"),
            ("PATCH", self.path, {"field_lock": {"field": "x"}}, "/field_lock"),
            ("PATCH", self.path, {"add_fields": ["x"]}, "/add_fields"),
            ("PATCH", self.path, {"snapshot_threshold": 1.5}, "/snapshot_threshold"),
            ("PUT", self.path, {}, ""),
            ("PUT", self.path, {"column_types": {"a": 3}}, "/column_types/a"),
        ):  # fmt: skip
            document = self.good(422, method, path, body)
            self.assertIn(pointer, [error["pointer"] for error in document["errors"]])
        message = self.refused(422, "PUT", self.path, {"column_types": {"a": "colour"}})
        self.assertIn("colour", message)

    def test_patch(self) -> None:
        """The members of a PATCH are applied in their order; unknown ones are passed over."""
        self.create()
        found = self.good(
            200,
            "PATCH",
            self.path,
            {
                "snapshot_threshold": 25,
                "locked": True,
                "field_lock": {"field": "secret", "lock": True},
                "add_fields": {"updated": ["status", "a", "status"]},
                "remove_fields": {"updated": ["a"], "unknown": ["x"]},
                "column_types": {"total": "integer"},
                "colour": "red",
            },
        )
        self.assertEqual(found["snapshot_threshold"], 25)
        self.assertTrue(found["locked"])
        self.assertEqual(found["field_locks"], ["secret"])
        self.assertEqual(found["events"]["updated"]["fields"], ["status"])
        self.assertEqual(list(found["column_types"]), ["total"])
        found = self.good(
            200, "PATCH", self.path, {"snapshot_threshold": None, "column_types": {"total": None}}
        )
        self.assertIsNone(found["snapshot_threshold"])
        self.assertEqual(found["column_types"], {})
        self.assertTrue(found["locked"])

    def test_all_or_nothing(self) -> None:
        """A PATCH that fails half-way leaves nothing behind."""
        before = self.create()
        for wrong, message in (
            ({"field_lock": {"field": " ", "lock": True}}, "field name cannot be empty"),
            ({"add_fields": {"made": [" "]}}, "field names cannot be empty"),
            ({"add_fields": {" ": ["x"]}}, "event names cannot be empty"),
        ):
            found = self.refused(400, "PATCH", self.path, {"snapshot_threshold": 7, **wrong})
            self.assertEqual(found, f"invalid schema: {message}")
        self.assertEqual(self.good(200, "GET", self.path), before)

    def test_unknown(self) -> None:
        """What is not there is 404, whatever was to be done with it."""
        for method, path, body in (
            ("PATCH", self.path, {"locked": True}),
            ("DELETE", self.path, None),
            ("DELETE", self.path + "/events/made", None),
            ("POST", self.path + "/events", {"events": ["a"]}),
            ("POST", self.path + "/validate", {"event": "made", "payload": {}}),
            ("POST", self.path + "/activate", {"version": "latest"}),
            ("GET", self.path + "/versions", None),
        ):
            self.assertEqual(self.call(method, path, body).status, 404, path)

    def test_put_and_delete(self) -> None:
        """PUT makes or replaces a schema, DELETE takes it away."""
        body = {"events": {"made": {"fields": ["b", "a"]}}, "column_types": {"a": "integer"}}
        made = self.good(201, "PUT", self.path, body)
        self.assertEqual(made["events"]["made"]["fields"], ["a", "b"])
        replaced = self.good(200, "PUT", self.path, {"events": {"paid": {}}})
        self.assertEqual(list(replaced["events"]), ["paid"])
        self.assertEqual(replaced["column_types"], {})
        self.assertEqual(replaced["created_at"], made["created_at"])
        message = self.refused(400, "PUT", self.path, {"aggregate": "other", "events": {}})
        self.assertIn("does not match path parameter", message)
        self.good(204, "DELETE", self.path)
        self.refused(404, "GET", self.path)
        self.refused(404, "DELETE", self.path)

    def test_events(self) -> None:
        """Events are declared and taken away; the last one stays."""
        self.create("made")
        found = self.good(200, "POST", self.path + "/events", {"events": ["paid", "made"]})
        self.assertEqual(list(found["events"]), ["made", "paid"])
        found = self.good(200, "DELETE", self.path + "/events/paid")
        self.assertEqual(list(found["events"]), ["made"])
        self.assertEqual(
            self.refused(404, "DELETE", self.path + "/events/paid"),
            f"schema violation: event paid is not defined for aggregate {self.name}",
        )
        self.assertEqual(
            self.refused(409, "DELETE", self.path + "/events/made"),
            f"schema violation: aggregate {self.name} must define at least one event",
        )

    def test_validate(self) -> None:
        """An event is checked without being written."""
        self.good(
            201, "PUT", self.path,
            {"events": {"made": {}}, "column_types": {"n": {"type": "integer", "required": True}}},
        )  # fmt: skip
        path = self.path + "/validate"
        found = self.good(200, "POST", path, {"event": "made", "payload": {"n": 1}})
        self.assertEqual((found["valid"], found["errors"]), (True, []))
        found = self.good(200, "POST", path, {"event": "made", "payload": {"n": "x"}})
        self.assertFalse(found["valid"])
        self.assertEqual([one["pointer"] for one in found["errors"]], ["/n"])
        self.refused(422, "POST", path, {"event": "made"})


class Conditions(SchemaVisit):
    """Changes of what one has seen, and of nothing else."""

    def test_if_match(self) -> None:
        """A change with the tag of an older version is refused."""
        self.create()
        seen = self.call("GET", self.path).headers["etag"]
        self.assertEqual(self.call("GET", self.path, If_None_Match=seen).status, 304)
        changed = self.call("PATCH", self.path, {"locked": True}, If_Match=seen)
        self.assertEqual(changed.status, 200)
        self.assertNotEqual(changed.headers["etag"], seen)
        for method, path, body in (
            ("PATCH", self.path, {"locked": False}),
            ("PUT", self.path, {"events": {"x": {}}}),
            ("DELETE", self.path, None),
            ("DELETE", self.path + "/events/made", None),
            ("POST", self.path + "/events", {"events": ["x"]}),
            ("PUT", "/schemas", []),
        ):
            self.refused(412, method, path, body, If_Match=seen)
        self.assertTrue(self.good(200, "GET", self.path)["locked"])
        self.assertEqual(
            self.call("DELETE", self.path, If_Match=changed.headers["etag"]).status, 204
        )

    def test_create_only(self) -> None:
        """``If-None-Match: *`` makes a schema and replaces none."""
        self.good(201, "PUT", self.path, {"events": {"made": {}}}, If_None_Match="*")
        self.refused(412, "PUT", self.path, {"events": {"paid": {}}}, If_None_Match="*")
        self.assertEqual(list(self.good(200, "GET", self.path)["events"]), ["made"])

    def test_required(self) -> None:
        """An installation can demand that whoever changes something says what they have seen."""
        self.create()
        self.good(200, "PATCH", "/config", {"admin": {"require_if_match": True}})

        def no_more() -> None:
            tag = self.call("GET", "/config").headers["etag"]
            body = {"admin": {"require_if_match": False}}
            self.good(200, "PATCH", "/config", body, If_Match=tag)

        self.addCleanup(no_more)
        for method, path, body in (
            ("PATCH", self.path, {"locked": True}),
            ("DELETE", self.path, None),
            ("PUT", "/schemas", []),
        ):
            message = self.refused(428, method, path, body)
            self.assertEqual(message, "If-Match is required")
        self.assertFalse(self.good(200, "GET", self.path)["locked"])
        self.good(201, "PUT", self.path + "_new", {"events": {"made": {}}})
        self.good(200, "PATCH", self.path, {"locked": True}, If_Match="*")

    def test_set(self) -> None:
        """A whole set can be replaced by what was read, as an array or by name."""
        self.create()
        whole = self.call("GET", "/schemas")
        kept = [one for one in whole.document if one["aggregate"] != self.name]
        answer = self.call("PUT", "/schemas", kept, If_Match=whole.headers["etag"])
        self.assertEqual((answer.status, answer.document), (200, kept))
        self.refused(404, "GET", self.path)
        by_name = {one["aggregate"]: one for one in whole.document}
        self.assertEqual(self.good(200, "PUT", "/schemas", by_name), whole.document)
        message = self.refused(400, "PUT", "/schemas", [*whole.document, whole.document[0]])
        self.assertIn("is there twice", message)
        self.assertEqual(self.good(200, "GET", "/schemas"), whole.document)


class Versions(SchemaVisit):
    """Versions of the whole set, and what they say about one schema."""

    def test_publish_activate_and_roll_back(self) -> None:
        """A version keeps the set; putting it in force brings everything back."""
        self.create("made")
        body = {"reason": "first", "labels": ["l1"], "activate": True}
        answer = self.call("POST", "/schema-versions", body)
        self.assertEqual(answer.status, 201)
        first = answer.document["version"]
        self.assertEqual(answer.headers["location"], f"/admin/schema-versions/{first}")
        again = self.good(200, "POST", "/schema-versions")
        self.assertEqual((again["version"], again["skipped"]), (first, True))
        self.good(200, "POST", self.path + "/events", {"events": ["paid"]})
        second = self.good(201, "POST", "/schema-versions", {"activate": True})["version"]
        listed = {one["id"]: one for one in self.good(200, "GET", "/schema-versions")}
        self.assertEqual(listed[first]["labels"], ["l1"])
        self.assertEqual((listed[first]["active"], listed[second]["active"]), (False, True))
        text = self.good(200, "GET", f"/schema-versions/{first}")
        self.assertEqual(list(text["schemas"][self.name]["events"]), ["made"])
        done = self.good(200, "POST", f"/schema-versions/{first}/activate")
        self.assertEqual((done["version"], done["already_active"]), (first, False))
        self.assertEqual(list(self.good(200, "GET", self.path)["events"]), ["made"])
        self.good(200, "POST", f"/schema-versions/{second}/activate", {"reason": "back"})
        done = self.good(200, "POST", "/schema-versions/rollback", {"version": "l1"})
        self.assertEqual(done["version"], first)
        self.assertEqual(
            self.refused(404, "POST", "/schema-versions/nope/activate"),
            "schema version 'nope' was not found",
        )
        self.refused(404, "GET", "/schema-versions/nope")

    def test_one_schema_of_a_version(self) -> None:
        """One schema goes back to a version; all others stay."""
        other = self.name + "_other"
        self.create("made")
        first = self.good(201, "POST", "/schema-versions", {"force": True})["version"]
        self.create(name=other)
        self.good(200, "POST", self.path + "/events", {"events": ["paid"]})
        second = self.good(201, "POST", "/schema-versions", {"force": True})["version"]
        found = self.good(200, "GET", self.path + "/versions")
        self.assertEqual([one["version"] for one in found][:2], [second, first])
        self.assertEqual(list(found[1]["schema"]["events"]), ["made"])
        found = self.good(200, "POST", self.path + "/activate", {"version": first})
        self.assertEqual(list(found["events"]), ["made"])
        self.good(200, "GET", f"/schemas/{other}")
        self.refused(404, "POST", f"/schemas/{other}/activate", {"version": first})


class Rights(SchemaVisit):
    """Who may do what."""

    def test_reading_is_not_writing(self) -> None:
        """``schema.read`` looks and changes nothing; other rights do neither."""
        self.create()
        reader, other = self.token_for("schema.read"), self.token_for("plugin.manage")
        self.assertEqual(self.call("GET", self.path, token=reader).status, 200)
        for token, method in ((reader, "DELETE"), (other, "GET"), (other, "DELETE")):
            self.assertIn(self.call(method, self.path, token=token).status, (401, 403))
        self.good(200, "GET", self.path)

    def test_unknown_domain(self) -> None:
        """A domain that does not exist is not made by asking for it."""
        message = self.refused(404, "GET", "/schemas?domain=nowhere")
        self.assertEqual(message, "domain 'nowhere' does not exist")
        self.refused(404, "GET", "/plugins?domain=nowhere")
