"""What the three command lines share: option parsing, errors, exit statuses."""
