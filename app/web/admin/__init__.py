"""The administration of teams over HTTP: /admin/v1, for team keys with the scope `admin`.

`operations` is the list of what there is: routes, OpenAPI document and the table in docs/teams.md are made from it.
"""
