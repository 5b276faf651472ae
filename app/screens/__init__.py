"""One thin file for each page: read state, call a service, draw.

Not called `pages`: Streamlit would take that folder beside main.py for its older way of making
several pages, and a bookmark opened first after a start would show those.
"""
