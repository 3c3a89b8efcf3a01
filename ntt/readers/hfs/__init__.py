"""HFS, HFS+ and HFSX: catalogs, forks, links, compressed files."""
