"""Tells twistd that there is a service called ``dbx``; the service itself is eventdbx.tap."""

from twisted.application.service import ServiceMaker

eventdbx = ServiceMaker("EventDBX", "eventdbx.tap", "An event-sourced database.", "dbx")
