"""House rules that a machine can check: layers, foreign packages, names, sizes, docstrings.

The tables below are the rules; docs/architecture.md explains them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "eventdbx"
LINES_MAX = 500
LONGER = {"eventdbx/verify.py": 1_000}
"""Files that may be longer, and how long: third parties take the verifier away as one file."""

BESIDE = ("tests", "bench", "docs", "examples")
"""Folders of Python beside the package."""

# Low to high. A room imports lower rooms and itself; rooms on one line never import each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "limits", "measures", "_version"),
    ("formats",),
    ("settings",),
    ("keys",),
    ("config",),
    ("domain",),
    ("wire", "storage"),
    ("application",),
    ("plugins", "surfaces", "sdk"),
    ("services",),
    ("tap",),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Modules outside the rooms: what they may import is said here one by one.
FRONT_DOORS = {"client": ("surfaces", "domain"), "plugin": ("sdk",)}

# A program that third parties take away: it imports nothing of ours, and only the command line,
# which offers it, imports it.
ALONE = "verify"

# The command line is a program on top of everything: it starts the server and, when none runs,
# opens the store itself. Nothing imports it in turn.
PROGRAM = "surfaces/cli/"

# Where each foreign package may be imported; a name ending in "/" is a whole room.
FOREIGN: dict[str, tuple[str, ...]] = {
    "capnp": ("wire/schema.py",),
    "rocksdict": ("storage/rocks.py",),
    "cryptography": (
        "verify.py",
        "wire/noise.py",
        "storage/keyslots.py",
        "storage/sealed.py",
        "application/token_keys.py",
        "application/tokens.py",
        "application/checkpoint_keys.py",
        "application/sealing.py",
        "plugins/signing.py",
        "services/backup_sealing.py",
    ),
    "re2": ("domain/schemas/patterns.py",),
    "ada_url": ("domain/schemas/formats.py",),
    "jsonschema": ("domain/schemas/json_schema_check.py", "surfaces/admin/bodies.py"),
    "referencing": ("domain/schemas/json_schema_check.py", "surfaces/admin/bodies.py"),
    "klein": ("surfaces/admin/api.py", "surfaces/http/api.py"),
    "werkzeug": ("surfaces/admin/api.py", "surfaces/http/api.py"),
    "prometheus_client": ("surfaces/http/metrics.py",),
    "opentelemetry": ("services/tracing.py",),
    "jsonpatch": ("domain/patches.py",),
    "jsonpointer": ("domain/patches.py",),
    "click": ("surfaces/cli/",),
    "yaml": ("surfaces/cli/rendering.py",),
    "tomlkit": ("config.py", "services/workspace.py"),
    "tomllib": ("config.py", "services/workspace.py"),
    "sortedcontainers": ("storage/memory.py",),
    "incremental": ("_version.py",),
    "orjson": ("",),
    "zope": ("storage/", "application/", "plugins/", "surfaces/", "services/", "tap.py"),
    "twisted": ("storage/", "application/", "plugins/", "surfaces/", "services/", "tap.py"),
}

BANNED_NAMES = (
    "manager handler processor engine component helper util utils common misc"  # one a word
).split()

# Splits snake_case and CamelCase into words.
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
MACHINE_PATHS = re.compile(
    r"/(?:work|opt|root|home|farm)/[a-z0-9_.]+/|/(?:home|Users)/[a-z]+\b|/tmp/[a-z]", re.ASCII
)


class Import(NamedTuple):
    """One import statement: who imports what, and where."""

    module: str
    line: int


def python_files(*folders: Path) -> list[Path]:
    """Return the Python files below the folders, in a stable order."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """Return the parsed source of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[Import]:
    """Yield every import of a file, inside functions too, except those for type checkers only."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            assert not node.level, f"{path}: relative import"
            yield Import(base, node.lineno)
            if base in ("eventdbx", "twisted"):
                for alias in node.names:
                    yield Import(f"{base}.{alias.name}", node.lineno)


def room_of(module: str) -> str | None:
    """Return the room of a module of ours, None for the package itself and for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "eventdbx" and len(parts) > 1 else None


def inside(path: Path) -> str:
    """Return a path as it is written in the tables: relative to the package."""
    return path.relative_to(PACKAGE).as_posix()


def allowed(name: str, places: tuple[str, ...]) -> bool:
    """Return whether a file is one of the places, or in one of them."""
    return any(name == place or place == "" or place.endswith("/") and name.startswith(place)
               for place in places)  # fmt: skip


class Layers(SynchronousTestCase):
    """Who may import whom."""

    def test_every_module_belongs_to_a_room(self) -> None:
        """A new top-level module or folder is given its level in the table first."""
        known = {*LEVEL, *FRONT_DOORS, ALONE, "__init__", "_capnp"}
        found = {path.stem for path in PACKAGE.glob("*.py")}
        found |= {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
        self.assertEqual(sorted(found - known), [])

    def test_lower_rooms_never_import_higher_ones(self) -> None:
        """An import points downward or stays in its room; siblings do not know each other."""
        wrong = []
        for path in python_files(PACKAGE):
            name = inside(path)
            room = name.split("/")[0].removesuffix(".py")
            if room not in LEVEL:
                continue
            for imported in imports(path):
                other = room_of(imported.module)
                if other in (None, room) or other not in LEVEL and other not in FRONT_DOORS:
                    continue
                if name.startswith(PROGRAM) and other == "services":
                    continue
                beside = {room, other} <= set(LAYERS[0])
                if beside or LEVEL.get(other, len(LAYERS)) < LEVEL[room]:
                    continue
                wrong.append(f"{name}:{imported.line} imports {imported.module}")
        self.assertEqual(wrong, [])

    def test_nothing_imports_the_program(self) -> None:
        """The command line stands on top: no module outside it imports it."""
        wrong = [
            f"{inside(path)}:{imported.line} imports {imported.module}"
            for path in python_files(PACKAGE)
            if not inside(path).startswith(PROGRAM)
            for imported in imports(path)
            if imported.module.startswith("eventdbx." + PROGRAM.rstrip("/").replace("/", "."))
        ]
        self.assertEqual(wrong, [])

    def test_the_verifier_stands_alone(self) -> None:
        """It imports the standard library and cryptography; our own checks do not lean on it."""
        foreign = {one.module.split(".")[0] for one in imports(PACKAGE / f"{ALONE}.py")}
        self.assertEqual(foreign - sys.stdlib_module_names, {"cryptography"})
        users = [
            inside(path)
            for path in python_files(PACKAGE)
            if not inside(path).startswith(PROGRAM)
            if any(one.module == f"eventdbx.{ALONE}" for one in imports(path))
        ]
        self.assertEqual(users, [])

    def test_front_doors_open_only_onto_their_room(self) -> None:
        """The public client module re-exports from the surface it names and nothing else."""
        wrong = [
            f"{door}.py:{imported.line} imports {imported.module}"
            for door, rooms in FRONT_DOORS.items()
            if (PACKAGE / f"{door}.py").exists()
            for imported in imports(PACKAGE / f"{door}.py")
            if room_of(imported.module) not in (None, *rooms, "errors")
        ]
        self.assertEqual(wrong, [])

    def test_foreign_packages_stay_in_their_files(self) -> None:
        """Each third-party package is imported only where the table says, and all are listed."""
        wrong = []
        for path in python_files(PACKAGE):
            name = inside(path)
            for imported in imports(path):
                top = imported.module.split(".")[0]
                if top in ("eventdbx", "__future__"):
                    continue
                if top not in FOREIGN and top in sys.stdlib_module_names:
                    continue
                if not allowed(name, FOREIGN.get(top, ())):
                    wrong.append(f"{name}:{imported.line} imports {top}")
        self.assertEqual(wrong, [])

    def test_the_domain_is_pure(self) -> None:
        """Values in, values out: no clock, no randomness, no files, no sockets in the domain."""
        impure = {"time", "random", "secrets", "os", "pathlib", "socket", "threading", "subprocess"}
        wrong = [
            f"{inside(path)}:{imported.line} imports {imported.module}"
            for path in python_files(PACKAGE / "domain")
            for imported in imports(path)
            if imported.module.split(".")[0] in impure
        ]
        self.assertEqual(wrong, [])


class Names(SynchronousTestCase):
    """What things are called."""

    def test_no_name_says_nothing(self) -> None:
        """Modules and classes are named for what they do, never by a word that fits anything."""
        wrong = []
        for path in python_files(PACKAGE, *(ROOT / folder for folder in BESIDE)):
            names = [(path.stem, 1)]
            names += [
                (node.name, node.lineno)
                for node in ast.walk(tree(path))
                if isinstance(node, ast.ClassDef)
            ]
            for name, line in names:
                words = {word.lower() for word in WORDS.findall(name)}
                words |= {word.removesuffix("s") for word in words}
                if words & set(BANNED_NAMES):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} {name}")
        self.assertEqual(wrong, [])

    def test_folders_of_others_stay_open(self) -> None:
        """An __init__ in capnp/ or twisted/ would hide the installed package of that name."""
        for folder in ("capnp", "twisted", "twisted/plugins"):
            self.assertFalse((ROOT / folder / "__init__.py").exists(), folder)


class Sources(SynchronousTestCase):
    """How files look."""

    def test_every_module_says_what_it_is_for(self) -> None:
        """Each module that holds code begins with a docstring."""
        folders = (PACKAGE, ROOT / "twisted", *(ROOT / folder for folder in BESIDE))
        wrong = [
            str(path.relative_to(ROOT))
            for path in [*python_files(*folders), ROOT / "setup.py"]
            if tree(path).body and not ast.get_docstring(tree(path))
        ]
        self.assertEqual(wrong, [])

    def test_files_stay_small(self) -> None:
        """A file that has grown past the limit holds a second room."""
        wrong = {}
        for path in python_files(PACKAGE, *(ROOT / folder for folder in BESIDE)):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            name = str(path.relative_to(ROOT))
            if lines > LONGER.get(name, LINES_MAX):
                wrong[name] = lines
        self.assertEqual(wrong, {})

    def test_no_path_of_one_machine(self) -> None:
        """Nothing in the project names a folder that exists only where it was written."""
        wrong = []
        for folder in ("eventdbx", "capnp", *BESIDE, "twisted", ".ci", "."):
            for path in sorted((ROOT / folder).glob("*" if folder == "." else "**/*")):
                texts = (".py", ".md", ".capnp", ".toml", ".ini", ".in", "")
                if not path.is_file() or path.suffix not in texts or path.name == "test_tidy.py":
                    continue
                try:
                    lines = path.read_text(encoding="utf-8").splitlines()
                except UnicodeDecodeError:
                    continue
                wrong += [
                    f"{path.relative_to(ROOT)}:{number}"
                    for number, line in enumerate(lines, 1)
                    if MACHINE_PATHS.search(line)
                ]
        self.assertEqual(wrong, [])
