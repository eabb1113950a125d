"""
Live in the desktop programs of the Virtual Observatory: TOPCAT, Aladin and every other client of a SAMP hub.

`send_table` gives a membership table to a program and marks the members there; `LiveSession` stays connected, runs a
method on the tables it is sent, and follows what the user selects, highlights and points at. `overlay_script` draws
the members over an image in Aladin.

The protocol is SAMP 1.3, https://www.ivoa.net/documents/SAMP/.
"""

from ._hub import hub_running, start_hub
from .aladin import overlay_script, send_script
from .live import LiveSession
from .sending import send_table

__all__ = ["LiveSession", "hub_running", "overlay_script", "send_script", "send_table", "start_hub"]
