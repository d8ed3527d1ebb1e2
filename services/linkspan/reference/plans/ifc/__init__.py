"""IFC files (STEP text), by ifcopenshell. Imported only inside the confined process."""
