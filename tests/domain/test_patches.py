"""JSON Patch events: what they may do, what they come to, and how they are refused."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.patches import apply_patch
from eventdbx.errors import InvalidSchema

STATE = (
    '{"who":"kim","n":1,"gone":null,"tags":["a","b"],"addr":{"zip":"9","city":"Rome"},'
    '"odd":{"a/b":1,"m~n":2},"a/b":{"x":1},"":{"x":1}}'
)

APPLIED = (
    ('[{"op":"replace","path":"/who","value":"ann"}]', '{"who":"ann"}'),
    ('[{"op":"add","path":"/new","value":{"x":[1]}}]', '{"new":{"x":[1]}}'),
    ('[{"op":"add","path":"/who","value":null}]', '{"who":null}'),
    ('[{"op":"remove","path":"/addr/zip"}]', '{"addr":{"city":"Rome"}}'),
    ('[{"op":"add","path":"/tags/-","value":"c"}]', '{"tags":["a","b","c"]}'),
    ('[{"op":"add","path":"/tags/0","value":"c"}]', '{"tags":["c","a","b"]}'),
    ('[{"op":"add","path":"/tags/2","value":"c"}]', '{"tags":["a","b","c"]}'),
    ('[{"op":"remove","path":"/tags/0"}]', '{"tags":["b"]}'),
    ('[{"op":"replace","path":"/tags/1","value":1.0}]', '{"tags":["a",1.0]}'),
    ('[{"op":"replace","path":"/odd/a~1b","value":9}]', '{"odd":{"a/b":9,"m~n":2}}'),
    ('[{"op":"replace","path":"/odd/m~0n","value":9}]', '{"odd":{"a/b":1,"m~n":9}}'),
    ('[{"op":"add","path":"/a~1b/y","value":2}]', '{"a/b":{"x":1,"y":2}}'),
    ('[{"op":"add","path":"//y","value":2}]', '{"":{"x":1,"y":2}}'),
    (
        '[{"op":"replace","path":"/n","value":2,"from":"/x","more":1},'
        '{"op":"add","path":"/addr/at","value":[]},{"op":"add","path":"/addr/at/0","value":1}]',
        '{"n":2,"addr":{"zip":"9","city":"Rome","at":[1]}}',
    ),
    ('[{"op":"remove","path":"/n"},{"op":"add","path":"/n","value":3}]', '{"n":3}'),
)

REFUSED = (
    ("{}", "patch_json must be an array of operations"),
    ("null", "patch_json must be an array of operations"),
    ("[]", "patch must modify at least one path"),
    ("[1]", "patch entry is missing 'op'"),
    ('[{"path":"/n"}]', "patch entry is missing 'op'"),
    ('[{"op":null}]', "patch entry is missing 'op'"),
    ('[{"op":"test","path":"/n","value":1}]', "unsupported patch operation 'test'"),
    ('[{"op":"move"}]', "unsupported patch operation 'move'"),
    ('[{"op":"Add","path":"/n","value":1}]', "unsupported patch operation 'Add'"),
    ('[{"op":"add","value":1}]', "patch entry is missing 'path'"),
    ('[{"op":"add","path":7}]', "patch entry is missing 'path'"),
    ('[{"op":"add","path":"n","value":1}]', "patch path 'n' must start with '/'"),
    ('[{"op":"add","path":"","value":1}]', "patch path '' must start with '/'"),
    (
        '[{"op":"add","path":"/","value":1}]',
        "patch operations targeting the document root are not supported",
    ),
    ('[{"op":"add","path":"/n"}]', "failed to parse patch: missing field `value`"),
    ('[{"op":"add","path":"/n"},{"op":"x"}]', "unsupported patch operation 'x'"),
    ('[{"op":"remove","path":"/n"}]', "patch removed key 'n' and removals are not supported"),
)

NOWHERE = (
    ('{"op":"replace","path":"/nope","value":1}', "/nope"),
    ('{"op":"remove","path":"/nope"}', "/nope"),
    ('{"op":"add","path":"/nope/x","value":1}', "/nope/x"),
    ('{"op":"add","path":"/tags/3","value":1}', "/tags/3"),
    ('{"op":"add","path":"/tags/01","value":1}', "/tags/01"),
    ('{"op":"add","path":"/tags/-1","value":1}', "/tags/-1"),
    ('{"op":"add","path":"/tags/x","value":1}', "/tags/x"),
    ('{"op":"replace","path":"/tags/-","value":1}', "/tags/-"),
    ('{"op":"remove","path":"/tags/-"}', "/tags/-"),
    ('{"op":"remove","path":"/tags/2"}', "/tags/2"),
    ('{"op":"add","path":"/tags/-/x","value":1}', "/tags/-/x"),
    ('{"op":"add","path":"/who/0","value":"x"}', "/who/0"),
    ('{"op":"replace","path":"/who/0","value":"x"}', "/who/0"),
    ('{"op":"remove","path":"/who/0"}', "/who/0"),
    ('{"op":"add","path":"/who/0/x","value":1}', "/who/0/x"),
    ('{"op":"add","path":"/n/x","value":1}', "/n/x"),
    ('{"op":"add","path":"/gone/x","value":1}', "/gone/x"),
    ('{"op":"remove","path":"/addr/nope"}', "/addr/nope"),
    ('{"op":"add","path":"/odd/a~2b","value":1}', "/odd/a~2b"),
)

OPERATIONS: st.SearchStrategy[JSON] = st.fixed_dictionaries(
    {
        "op": st.sampled_from(("add", "replace", "remove")),
        "path": st.lists(
            st.sampled_from(("who", "tags", "addr", "zip", "0", "1", "-", "x", "~", "", "a~1b")),
            min_size=1,
            max_size=3,
        ).map(lambda parts: "/" + "/".join(parts)),
    },
    optional={"value": st.sampled_from((1, None, "x", [], {"x": []}))},
)


class PatchTests(SynchronousTestCase):
    """Patches of one state."""

    def refusal(self, patch: str) -> str:
        error = self.assertRaises(InvalidSchema, apply_patch, parse(STATE), parse(patch))
        return str(error.detail)

    def test_payloads(self) -> None:
        """A patch becomes the whole new value of every top-level key that it touches."""
        for patch, payload in APPLIED:
            state = parse(STATE)
            assert isinstance(state, dict)
            self.assertEqual(apply_patch(state, parse(patch)), parse(payload), patch)
            self.assertEqual(state, parse(STATE))

    def test_refused(self) -> None:
        """A patch that is no good is refused for its first fault."""
        for patch, message in REFUSED:
            self.assertEqual(self.refusal(patch), message, patch)

    def test_paths_that_lead_nowhere(self) -> None:
        """A refusal names the operation and the path that does not exist."""
        for entry, path in NOWHERE:
            for before, number in (("", 0), ('{"op":"add","path":"/new","value":1},', 1)):
                self.assertEqual(
                    self.refusal(f"[{before}{entry}]"),
                    f"failed to apply patch: Operation '/{number}' failed at path '{path}': "
                    "path is invalid",
                    entry,
                )

    def test_command_line_words(self) -> None:
        """On the command line the missing array is called by its name there."""
        error = self.assertRaises(InvalidSchema, apply_patch, {}, {}, surface="cli")
        self.assertEqual(error.detail, "patch must be provided as a JSON array")

    def test_values_are_not_shared(self) -> None:
        """Later operations change the state, never the patch that brought the value."""
        patch = parse(
            '[{"op":"add","path":"/a","value":[]},{"op":"add","path":"/a/-","value":{}},'
            '{"op":"add","path":"/a/0/x","value":1}]'
        )
        before = copy.deepcopy(patch)
        self.assertEqual(apply_patch({}, patch), {"a": [{"x": 1}]})
        self.assertEqual(patch, before)

    def test_depth(self) -> None:
        """Patch upon patch, no value grows deeper than one that could have been sent."""
        depth = limits.JSON_DEPTH_MAX - 10
        value = parse("[" * depth + "]" * depth)
        state = {"a": parse("[" * 9 + "]" * 9)}
        innermost = "/a" + "/0" * 8 + "/-"
        apply_patch(state, [{"op": "add", "path": innermost, "value": value}])
        error = self.assertRaises(
            InvalidSchema,
            apply_patch,
            state,
            [{"op": "add", "path": innermost, "value": [value]}],
        )
        self.assertEqual(error.detail, "failed to apply patch: recursion limit exceeded")

    @given(st.lists(OPERATIONS, max_size=4))
    def test_any_operations(self, patch: list[JSON]) -> None:
        """Whatever the operations, they come to a payload or are refused, and the state stays."""
        state = parse(STATE)
        assert isinstance(state, dict)
        before, patch_before = copy.deepcopy(state), copy.deepcopy(patch)
        try:
            payload = apply_patch(state, patch)
        except InvalidSchema:
            payload = {}
        self.assertEqual((state, patch), (before, patch_before))
        self.assertTrue(all(isinstance(key, str) for key in payload))
