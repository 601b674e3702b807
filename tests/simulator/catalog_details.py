"""What a product page says: material, measure, care and a description, from a product's name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

KINDS = Path(__file__).with_name("catalog_kinds.yaml")
BEARING = {  # of each adjective, the sentence that a shop would add
    "Classic": "A shape that has been right for decades.",
    "Compact": "It takes little room and is quickly put away.",
    "Light": "Light enough to take along without a thought.",
    "Foldable": "It folds flat in seconds.",
    "Everyday": "Made for daily use, and priced for it.",
    "Premium": "The best we have of its kind, down to the last seam and screw.",
    "Soft": "Soft to the touch wherever you hold it.",
    "Slim": "Slim, without giving anything up.",
    "Rugged": "Built for rough hands and bad weather.",
    "Quiet": "You will hardly notice that it is there.",
    "Natural": "Nothing in it that does not need to be.",
    "Vintage": "The look of the sixties, with the inside of today.",
    "Modern": "Plain lines that go with everything.",
    "Travel": "Small enough for hand luggage.",
    "Essential": "Everything it needs and nothing else.",
    "Signature": "The piece that the maker is known for.",
    "Urban": "Made for city streets and small flats.",
    "Nordic": "Designed in the north, where things have to last.",
    "Smart": "It talks to your phone, and works as well without.",
}
LASTING = {  # of each material, by the first word of it that is found
    "recycled": "Made largely of recycled material.",
    "organic": "Grown without pesticides.",
    "cast iron": "The iron is seasoned and gets better with use.",
    "enamel": "The enamel wipes clean.",
    "oak": "The oak is oiled, not varnished, and ages well.",
    "walnut": "The walnut is oiled, so each piece has a grain of its own.",
    "beech": "The beech comes from forests that are replanted.",
    "wood": "The handle is waxed wood that can be replaced.",
    "leather": "The leather softens with use.",
    "suede": "Brushed suede, treated against rain.",
    "nubuck": "Nubuck that takes wax, mud and years.",
    "merino": "Merino that stays fresh for days.",
    "wool": "Wool that keeps its shape.",
    "linen": "The linen is washed before it is sewn.",
    "canvas": "The canvas is woven tightly and can be waxed again.",
    "titanium": "Titanium: light, and it does not rust.",
    "brass": "The brass darkens with time, or shines if you polish it.",
    "copper": "The copper is lined with steel.",
    "terracotta": "In a terracotta pot that breathes.",
    "ceramic": "The ceramic is glazed by hand, so no two are alike.",
    "stone": "The stone is cut from one block.",
    "steel": "Steel parts, each of which can be replaced.",
    "glass": "The glass comes back to us and is filled again.",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What all products of one name share."""

    materials: Sequence[str]
    measure: str
    sizes: Sequence[str]
    does: str


@dataclass(frozen=True, slots=True)
class Details:
    """A description of two to four sentences, and attributes by name."""

    description: str
    attributes: dict[str, str]


@cache
def kinds() -> dict[str, Kind]:
    """Each kind of product by its name, such as `Desk Lamp`."""
    rows = yaml.safe_load(KINDS.read_text(encoding="utf-8"))
    return {noun: Kind(**row) for noun, row in rows.items()}


def details(item_id: str, adjective: str, noun: str, colour: str) -> Details:
    """The details of one product, the same for the same name and id."""
    kind = kinds()[noun]
    material = _choice(kind.materials, item_id, "material")
    size = _choice(kind.sizes, item_id, "size")
    attributes = {
        "material": material,
        "colour": colour.lower(),
        kind.measure: size,
    }
    lasting = [sentence for word, sentence in LASTING.items() if word in material]
    return Details(" ".join([kind.does, BEARING[adjective], *lasting[:1]]), attributes)


def _choice(options: Sequence[str], item_id: str, about: str) -> str:
    """An option by hash, so that details draw nothing from the catalog's random numbers."""
    digest = hashlib.blake2b(f"{item_id} {about}".encode(), digest_size=4).digest()
    return options[int.from_bytes(digest) % len(options)]
