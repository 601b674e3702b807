"""Every protocol that the collector reads."""

from __future__ import annotations

from collections.abc import Mapping

from functions.protocols.amplitude import protocol as amplitude
from functions.protocols.contract import VendorProtocol
from functions.protocols.ga4 import protocol as ga4
from functions.protocols.mixpanel import protocol as mixpanel
from functions.protocols.native import protocol as native
from functions.protocols.pixel import protocol as pixel
from functions.protocols.segment import protocol as segment
from functions.protocols.snowplow import protocol as snowplow

PROTOCOLS: Mapping[str, VendorProtocol] = {
    "native": native,
    "pixel": pixel,
    "segment": segment,
    "ga4": ga4,
    "snowplow": snowplow,
    "mixpanel": mixpanel,
    "amplitude": amplitude,
}
"""By the name that a dead letter carries."""
