"""Who is who: links between the deliveries, made in the vault.

Belongs here: index numbers, passes of the cascade, project ids, read-through, link
rates. Does not belong here: answers, payload and anything that dbt builds from the
links (`linkage.linked` lies in dbt_project).
"""

from rcs_assets.linkage.exact import (
    LinkedRows,
    LinkKeys,
    link_engagements,
    link_keys,
    write_linkage,
)

__all__ = ["LinkKeys", "LinkedRows", "link_engagements", "link_keys", "write_linkage"]
