"""Parts of a page that run in the browser: one folder each, with its html, css and js files."""
