"""Reports as files for people: pages for a browser and for paper, tables for a spreadsheet."""
