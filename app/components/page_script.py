"""The review page's script: ES modules, and the address under which browsers get them.

The address carries a digest of all of them. A browser may therefore keep them for good, and never
mixes modules of two versions: every import inside them is relative to that address.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

__all__ = ["MODULES", "PATH", "VERSION", "loader"]

_FOLDER: Final = Path(__file__).parent / "review" / "script"
_ENTRY: Final = "review.js"

MODULES: Final = {
    file.relative_to(_FOLDER).as_posix(): file.read_bytes()
    for file in sorted(_FOLDER.rglob("*.js"))
}
"""Content by name, ``card/card.js`` say, as it was when the program started."""


def _digest() -> str:
    found = hashlib.sha256()
    for name, content in MODULES.items():
        found.update(f"{name}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:16]


VERSION: Final = _digest()
PATH: Final = f"/api/script/{VERSION}/"


def loader() -> str:
    """The few lines that Streamlit hands to the browser: they fetch all modules at once.

    Streamlit loads a component's script from a blob, from where nothing can be imported by a
    relative address; these lines know the whole one.
    """
    others = json.dumps([name for name in MODULES if name != _ENTRY])
    return f"""
const load = (base, name) => import(new URL(base + {json.dumps(PATH)} + name, location.origin));

export default async function (component) {{
  const {{ api_base: base }} = component.data;
  // At once, not one after the other is read; what fails is told by the import that needs it.
  for (const name of {others}) load(base, name).catch(() => {{}});
  const page = await load(base, {json.dumps(_ENTRY)});
  return page.default(component);
}}
"""
