"""``twistd dbx``: options and service of the Twisted plugin."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.python.usage import Options as UsageOptions

from eventdbx.errors import EventDBXError
from eventdbx.services.running import twistd_service
from eventdbx.services.workspace import open_workspace


class Options(UsageOptions):
    """Options of ``twistd dbx``."""

    synopsis = "[--config PATH]"
    longdesc = "Run the EventDBX server under twistd, as containers do: twistd -n dbx"
    optParameters = [["config", "c", None, "Path of config.toml (created when missing)"]]


def makeService(options: Any) -> IService:
    """Return the server's service tree for the configuration that the options name.

    twistd finds this function by its name. A configuration that cannot be used ends the process
    with one line that says why.
    """
    try:
        workspace = open_workspace(options["config"], environ=os.environ)
    except EventDBXError as error:
        sys.exit(f"Error: {error}")
    return twistd_service(workspace, reactor)
