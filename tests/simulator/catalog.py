"""The shop's products: a seeded catalog of 2,000, or one read from a REES46 log, as JSON lines."""

from __future__ import annotations

import csv
import json
import math
import os
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.simulator.catalog_details import details

DEFAULT_SIZE = 2_000
DEFAULT_SEED = 7
IN_STOCK_SHARE = 0.97


@dataclass(frozen=True, slots=True)
class Product:
    """One line of the catalog file; `price` in the shop's currency, `category` a dotted path."""

    id: str
    title: str
    category: str
    brand: str
    price: float
    in_stock: bool = True
    description: str = ""
    attributes: dict[str, str] = field(default_factory=dict, hash=False)


# category: (median price, nouns); two dotted levels, 24 in all.
CATEGORIES: dict[str, tuple[float, tuple[str, ...]]] = {
    "electronics.phones": (420, ("Phone", "Smartphone", "Folding Phone", "Compact Phone")),
    "electronics.audio": (110, ("Headphones", "Earbuds", "Speaker", "Soundbar", "Turntable")),
    "electronics.cameras": (520, ("Camera", "Action Camera", "Zoom Lens", "Instant Camera")),
    "computers.laptops": (900, ("Laptop", "Notebook", "Ultrabook", "Convertible")),
    "computers.monitors": (260, ("Monitor", "Curved Monitor", "Portable Monitor")),
    "computers.accessories": (
        45,
        ("Keyboard", "Mouse", "Webcam", "Docking Station", "Laptop Stand"),
    ),
    "home.kitchen": (
        60,
        ("Kettle", "Toaster", "Saucepan", "Knife Set", "Coffee Grinder", "Blender"),
    ),
    "home.furniture": (240, ("Armchair", "Side Table", "Bookcase", "Desk", "Stool")),
    "home.lighting": (55, ("Desk Lamp", "Floor Lamp", "Pendant Light", "Reading Light")),
    "apparel.shoes": (85, ("Sneakers", "Boots", "Loafers", "Sandals")),
    "apparel.jackets": (130, ("Rain Jacket", "Parka", "Fleece", "Denim Jacket")),
    "apparel.shirts": (35, ("T-Shirt", "Oxford Shirt", "Polo", "Linen Shirt")),
    "sports.running": (75, ("Running Shoes", "Running Vest", "Sports Watch", "Running Shorts")),
    "sports.cycling": (95, ("Helmet", "Bike Light", "Cycling Jersey", "Pannier", "Saddle")),
    "sports.camping": (120, ("Tent", "Sleeping Bag", "Camp Stove", "Backpack", "Headlamp")),
    "beauty.skincare": (28, ("Face Cream", "Serum", "Cleanser", "Sunscreen")),
    "beauty.fragrance": (65, ("Eau de Parfum", "Cologne", "Body Mist")),
    "beauty.haircare": (22, ("Shampoo", "Conditioner", "Hair Oil", "Hair Dryer")),
    "kids.toys": (30, ("Building Set", "Puzzle", "Wooden Train", "Plush Bear", "Marble Run")),
    "kids.books": (15, ("Picture Book", "Story Collection", "Activity Book", "Atlas for Children")),
    "kids.strollers": (310, ("Stroller", "Buggy", "Child Car Seat", "Baby Carrier")),
    "garden.tools": (40, ("Secateurs", "Spade", "Hedge Trimmer", "Garden Hose", "Rake")),
    "garden.plants": (25, ("Olive Tree", "Lavender", "Fern", "Monstera", "Rose Bush")),
    "garden.grills": (210, ("Charcoal Grill", "Gas Grill", "Pizza Oven", "Smoker")),
}
# Invented names: six for each top-level category, and six that sell everywhere.
BRANDS: dict[str, tuple[str, ...]] = {
    "electronics": ("Voltaire", "Kirami", "Soneco", "Pixelhof", "Brightwave", "Audane"),
    "computers": ("Nordbyte", "Keyloft", "Calcera", "Framewell", "Tessera", "Bitholm"),
    "home": ("Hearthly", "Oakmere", "Lumivo", "Casolino", "Brassand", "Tidewood"),
    "apparel": ("Fennimore", "Marlowe & Pine", "Skjorta", "Weftline", "Cobble", "Harrowgate"),
    "sports": ("Tarnfell", "Strideway", "Velonne", "Summitra", "Pacer", "Windgap"),
    "beauty": ("Aurelle", "Mirabloom", "Saltmarsh", "Cendra", "Petalune", "Nuvia"),
    "kids": ("Tumbletop", "Larkling", "Pebblo", "Moonbarrow", "Whirligig", "Nestkin"),
    "garden": ("Greenhaugh", "Thornby", "Verdella", "Emberlea", "Rootwell", "Dewfield"),
    "*": ("Everyday", "Plainware", "Homestead", "Allgood", "Basica", "Quarto"),
}
_ADJECTIVES = (
    *(
        "Classic",
        "Compact",
        "Light",
        "Foldable",
        "Everyday",
        "Premium",
        "Soft",
        "Slim",
        "Rugged",
        "Quiet",
    ),
    *(
        "Natural",
        "Vintage",
        "Modern",
        "Travel",
        "Essential",
        "Signature",
        "Urban",
        "Nordic",
        "Smart",
    ),
)
_COLOURS = (
    *("Black", "White", "Sand", "Navy", "Forest", "Clay"),
    *("Slate", "Coral", "Olive", "Ivory", "Graphite", "Amber"),
)


def generate(size: int = DEFAULT_SIZE, seed: int = DEFAULT_SEED) -> list[Product]:
    """`size` products spread over `CATEGORIES`, the same for the same seed; ids are `p0001` and
    on."""
    rng = random.Random(f"catalog-{seed}")
    names = list(CATEGORIES)
    premium = {brand: rng.gauss(0, 0.35) for brands in BRANDS.values() for brand in brands}
    titles: set[str] = set()
    return [
        _product(rng, number, names[number % len(names)], premium, titles) for number in range(size)
    ]


def _product(
    rng: random.Random, number: int, category: str, premium: Mapping[str, float], titles: set[str]
) -> Product:
    median, nouns = CATEGORIES[category]
    own = BRANDS[category.partition(".")[0]]
    brand = rng.choice(own if rng.random() < 0.8 else BRANDS["*"])
    price = median * math.exp(premium[brand] + rng.gauss(0, 0.4))
    item_id = f"p{number + 1:04d}"
    name = _new(brand, _name(rng, nouns), titles)
    more = details(item_id, name.adjective, name.noun, name.colour)
    return Product(
        id=item_id,
        title=f"{brand} {name}",
        category=category,
        brand=brand,
        price=round(price) - 0.01 if price > 5 else round(price, 2),
        in_stock=rng.random() < IN_STOCK_SHARE,
        description=more.description,
        attributes=more.attributes,
    )


@dataclass(frozen=True, slots=True)
class Name:
    """The words of a title besides the brand."""

    adjective: str
    noun: str
    colour: str

    def __str__(self) -> str:
        return f"{self.adjective} {self.noun}, {self.colour}"


def _name(rng: random.Random, nouns: tuple[str, ...]) -> Name:
    return Name(rng.choice(_ADJECTIVES), rng.choice(nouns), rng.choice(_COLOURS))


def _new(brand: str, name: Name, titles: set[str]) -> Name:
    """The name, or with the next adjective whose title, `Brand Adjective Noun, Colour`, is new."""
    first = _ADJECTIVES.index(name.adjective)
    for adjective in (*_ADJECTIVES[first:], *_ADJECTIVES[:first]):
        name = replace(name, adjective=adjective)
        title = f"{brand} {name}"
        if title not in titles:
            break
    titles.add(title)
    return name


def from_rees46(rows: Iterable[Mapping[str, str]]) -> list[Product]:
    """The products named in a REES46 log, sorted by id.

    Only what a shop knows beforehand is taken: id, category (`category_code`, else
    `cat.<category_id>`), brand and the last price. The order is that of the ids, so neither
    popularity nor time of first view leaks into it.
    """
    products: dict[str, Product] = {}
    for row in rows:
        category = row["category_code"] or f"cat.{row['category_id']}"
        brand = row["brand"] or ""
        products[row["product_id"]] = Product(
            id=row["product_id"],
            title=f"{brand} {category.rpartition('.')[2].replace('_', ' ')}".strip(),
            category=category,
            brand=brand,
            price=float(row["price"] or 0),
        )
    return sorted(products.values(), key=lambda product: product.id)


def write(products: Iterable[Product], path: Path) -> int:
    """Write one JSON object a line, making the folder; the number written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(product), ensure_ascii=False) + "\n" for product in products]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def read(path: Path) -> list[Product]:
    """The products of a file that `write` wrote (other keys are ignored)."""
    return list(_read_lines(path))


def _read_lines(path: Path) -> Iterator[Product]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            yield Product(
                **{name: raw[name] for name in Product.__dataclass_fields__ if name in raw}
            )


def read_rees46(path: Path) -> list[dict[str, str]]:
    """The rows of a REES46 CSV in file order, which is time order."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main(arguments: list[str]) -> int:
    """`python -m tests.simulator.catalog [OUT]`; OUT: FRESHET_CATALOG, else build/catalog.jsonl."""
    default = os.environ.get("FRESHET_CATALOG", "build/catalog.jsonl")
    path = Path(arguments[0] if arguments else default)
    print(f"{write(generate(), path)} products written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
