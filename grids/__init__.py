"""The studies that ship with Yates, as YAML. There is no code here."""
