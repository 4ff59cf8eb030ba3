"""The administration of teams over HTTP: /admin/v1, for team keys with the scope `admin`.

`operations` lists the operations. Routes, the OpenAPI document and the table in docs/teams.md are generated from it.
"""
