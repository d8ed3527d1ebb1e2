"""What a plan file states about itself: IFC and DXF, read in a confined process; and the demo's own plans."""
