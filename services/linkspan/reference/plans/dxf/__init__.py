"""DXF drawings, by ezdxf. Imported only inside the confined process."""
