"""How the distribution is built: metadata, console scripts, and the schema files in the package.

Tool settings live in pyproject.toml. The one unusual step is that the Cap'n Proto schemas, which
stand in ``capnp/`` at the top of the checkout, are copied into the package on a build; a checkout
and an editable install read them where they stand.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
SCHEMAS = sorted(path.relative_to(HERE).as_posix() for path in (HERE / "capnp").glob("*.capnp"))


class BuildWithSchemas(build_py):
    """Put ``capnp/*.capnp`` into ``eventdbx/_capnp`` of whatever is built."""

    def _targets(self) -> list[tuple[str, str]]:
        folder = Path(self.build_lib) / "eventdbx" / "_capnp"
        return [(schema, str(folder / Path(schema).name)) for schema in SCHEMAS]

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        for source, target in self._targets():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target, preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs + [target for _, target in self._targets()]


REQUIRED = [
    "ada-url >= 1.15.3",
    "click >= 8.1.8",
    "cryptography >= 42",
    "google-re2 >= 1.1.20240702",
    "incremental >= 24.7.2",
    "jsonpatch >= 1.33",
    "jsonschema >= 4.23",
    "klein >= 24.8",
    "orjson >= 3.10",
    "prometheus_client >= 0.21",
    "pycapnp >= 2.0",
    "PyYAML >= 6.0.1",
    "referencing >= 0.30",
    "rocksdict >= 0.3.29",
    "sortedcontainers >= 2.4",
    "tomlkit >= 0.12",
    "twisted[tls] >= 24.7",
    "zope.interface >= 6",
]

# What every request passes through, and is plain typed Python: EVENTDBX_COMPILE=1 makes extension
# modules of it (mypyc; needs a C compiler). Without that the same sources are interpreted.
COMPILED = (
    "eventdbx/errors.py",
    "eventdbx/limits.py",
    "eventdbx/domain/*.py",
    "eventdbx/domain/schemas/accepting.py",
    "eventdbx/domain/schemas/columns.py",
    "eventdbx/domain/schemas/contract.py",
    "eventdbx/domain/schemas/rules.py",
    "eventdbx/wire/[!s]*.py",
    "eventdbx/storage/eventlog.py",
    "eventdbx/storage/keys.py",
    "eventdbx/storage/overlay.py",
    "eventdbx/storage/records.py",
    "eventdbx/storage/store.py",
    "eventdbx/application/authorising.py",
    "eventdbx/application/domains.py",
    "eventdbx/application/drafting.py",
    "eventdbx/application/headcache.py",
    "eventdbx/application/headrecords.py",
    "eventdbx/application/idempotency.py",
    "eventdbx/application/tokens.py",
    "eventdbx/application/writer.py",
    "eventdbx/surfaces/control/routes.py",
)
COMPILING = os.environ.get("EVENTDBX_COMPILE") == "1"
NEEDED_TO_COMPILE: list[str] = []
if COMPILING and "build_ext" not in sys.argv:
    # For a build in an environment of its own; the compiler reads the types of what we import.
    NEEDED_TO_COMPILE = ["mypy[mypyc] >= 1.11", "mypy-zope >= 1.0.5", *REQUIRED]


def compiled_modules() -> list[Extension]:
    """Return the extension modules to build; none unless they are asked for."""
    if not COMPILING:
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        # The build is only asking what it needs: see setup_requires.
        return []
    os.chdir(HERE)
    paths = sorted(
        path.relative_to(HERE).as_posix()
        for pattern in COMPILED
        for path in HERE.glob(pattern)
        if path.name != "__init__.py"
    )
    modules: list[Extension] = mypycify(
        paths, opt_level="3", debug_level="0", group_name="eventdbx"
    )
    return modules


setup(
    name="eventdbx",
    use_incremental=True,
    description="An event-sourced database with verifiable history, on Twisted and RocksDB",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The EventDBX authors",
    license="MIT",
    license_files=["LICENSE"],
    # Stated although it is the default: an editable install then puts the checkout itself on
    # sys.path, where Twisted finds the twistd plugin; an import hook would hide it.
    package_dir={"": "."},
    # No __init__.py may ever stand in twisted/ or twisted/plugins/, so find_packages cannot see it.
    packages=[*find_packages(include=["eventdbx", "eventdbx.*"]), "twisted.plugins"],
    package_data={"eventdbx": ["py.typed"]},
    data_files=[("share/man/man1", ["docs/dbx.1"])],
    cmdclass={"build_py": BuildWithSchemas},
    ext_modules=compiled_modules(),
    setup_requires=NEEDED_TO_COMPILE,
    python_requires=">=3.11",
    install_requires=REQUIRED,
    extras_require={
        "dev": [
            "build >= 1.2",
            "hypothesis >= 6.100",
            "jsonschema-rs >= 0.60",
            "mypy >= 1.11",
            "mypy-zope >= 1.0.5",
            "noiseprotocol >= 0.3.1",
            "opentelemetry-sdk >= 1.27",
            "pymerkle >= 6.1",
            "ruff >= 0.6",
            "schemathesis >= 4.32",
            "setuptools >= 77",
            "wheel",
        ],
        "tracing": [
            "opentelemetry-api >= 1.27",
            "opentelemetry-sdk >= 1.27",
        ],
        "bench": [
            "psycopg[binary] >= 3.2",
            "umadb >= 0.7",
        ],
    },
    entry_points={
        "console_scripts": [
            "dbx = eventdbx.surfaces.cli.main:main",
            "eventdbx = eventdbx.surfaces.cli.main:main",
        ],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Database :: Database Engines/Servers",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
