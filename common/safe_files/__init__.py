"""Opening files of others, reading archives of others, replacing files, forking."""
