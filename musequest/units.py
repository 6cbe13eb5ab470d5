"""Units of measure as museum texts write them, and how they convert into one another."""

from __future__ import annotations

from decimal import Decimal

# (dimension, size in the dimension's base unit) -> the ways it is written. "in" for inches is
# left out on purpose: "made in 1742 in Lowfen" would measure something.
WRITTEN: dict[tuple[str, str], str] = {
    ("length", "0.001"): "mm millimetre millimetres millimeter millimeters",
    ("length", "0.01"): "cm centimetre centimetres centimeter centimeters",
    ("length", "1"): "m metre metres meter meters",
    ("length", "1000"): "km kilometre kilometres kilometer kilometers",
    ("length", "0.0254"): "inch inches ″",
    ("length", "0.3048"): "ft foot feet ′",
    ("length", "0.9144"): "yd yard yards",
    ("length", "1609.344"): "mile miles",
    ("mass", "0.001"): "mg milligram milligrams",
    ("mass", "1"): "g gram grams",
    ("mass", "1000"): "kg kilo kilos kilogram kilograms",
    ("mass", "1000000"): "tonne tonnes",
    ("mass", "907184.74"): "ton tons",
    ("mass", "28.349523125"): "oz ounce ounces",
    ("mass", "453.59237"): "lb lbs pound pounds",
    ("mass", "0.2"): "carat carats",
    ("volume", "0.001"): "ml millilitre millilitres milliliter milliliters",
    ("volume", "1"): "l litre litres liter liters",
    ("share", "1"): "% percent",
    ("time", "3600"): "hour hours",
    ("time", "86400"): "day days night nights",
    ("time", "604800"): "week weeks",
    ("time", "31557600"): "year years",
}

UNITS: dict[str, tuple[str, Decimal]] = {
    name: (dimension, Decimal(size))
    for (dimension, size), names in WRITTEN.items()
    for name in names.split()
}
UNITS["per cent"] = UNITS["percent"]
