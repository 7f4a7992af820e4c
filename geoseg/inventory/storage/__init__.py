"""The files of an inventory: GeoPackage, GeoParquet, and what RGI and GLIMS take."""
