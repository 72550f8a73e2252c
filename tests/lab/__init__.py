# SPDX-License-Identifier: Apache-2.0
"""Networks for tests: namespaces, veth pairs, crafted frames, and a Weft daemon in the middle.

Nothing here touches the root namespace's interfaces, and nothing a test makes outlives it: `Lab` removes what it made
when its block ends, and `scripts/cleanup` removes what a killed run left.
"""

from .broker import Broker
from .frozen import frozen
from .lab import Lab, LabError, PREFIX, TEMP_PREFIX
from .namespace import Namespace, poll_until
from .netlink_capture import NetlinkCapture
from .sites import Site, sites
from .traffic import Trafficgen
from .weft import Weft
from .wire import Wire

__all__ = [
    "Broker", "Lab", "LabError", "Namespace", "NetlinkCapture", "PREFIX", "Site", "TEMP_PREFIX", "Trafficgen", "Weft", "Wire", "frozen",
    "poll_until", "sites",
]
