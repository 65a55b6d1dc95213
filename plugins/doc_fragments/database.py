# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the application's database, in the words of libpq."""

    DOCUMENTATION = r"""
options:
  database:
    description:
      - How the database is reached.
      - What isn't given, libpq takes from its environment, such as E(PGHOST), E(PGPASSWORD), E(PGPASSFILE), and from
        C(~/.pgpass).
    type: dict
    suboptions:
      dsn:
        description:
          - Connection string, C(postgresql://user@host:port/name) or C(host=… dbname=…). The other options win over it.
          - It may name several hosts; C(target_session_attrs=read-write) then finds the primary.
        type: str
      host:
        description:
          - Host name or address, or the folder of a Unix socket.
        type: str
      port:
        description:
          - Port.
        type: int
      name:
        description:
          - Name of the database.
        type: str
      user:
        description:
          - Role to log in as. For O(action=restore) and O(action=pause) it must own the tables, for O(action=take) read
            them and have C(CREATE) on the database.
        type: str
      password:
        description:
          - Password of the role. Never shown, never an argument of a command.
        type: str
      sslmode:
        description:
          - How the connection is protected, in libpq's words.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description:
          - Path of the certificates that the server's must be signed by.
        type: path
      sslcert:
        description:
          - Path of a certificate to log in with.
        type: path
      sslkey:
        description:
          - Path of the key of C(sslcert).
        type: path
      connect_timeout:
        description:
          - Seconds to wait for a connection.
        type: int
        default: 10
      pod:
        description:
          - Where the database can't be reached from here, a pod to run psql in, over the Kubernetes API's exec. The
            other options then hold as seen from within that pod.
          - Needs psql 11 or newer in the container, and the rights C(create) and C(get) on C(pods/exec).
        type: dict
        suboptions:
          namespace:
            description: Namespace of the pod.
            type: str
            required: true
          name:
            description: Name of the pod.
            type: str
          deployment:
            description: Deployment of which the first ready pod is taken.
            type: str
          selector:
            description: Label selector of which the first ready pod is taken, such as V(app=postgres,role=primary).
            type: str
          container:
            description: Container of the pod; without it the pod's default one.
            type: str
  other:
    description:
      - With O(action=compare), what to compare O(tables) with.
    type: dict
    suboptions:
      database:
        description:
          - How the other database is reached.
        type: dict
        suboptions:
          dsn:
            description:
              - Connection string, C(postgresql://user@host:port/name) or C(host=… dbname=…). The other options win over
                it.
              - It may name several hosts; C(target_session_attrs=read-write) then finds the primary.
            type: str
          host:
            description:
              - Host name or address, or the folder of a Unix socket.
            type: str
          port:
            description:
              - Port.
            type: int
          name:
            description:
              - Name of the database.
            type: str
          user:
            description:
              - Role to log in as. For O(action=restore) and O(action=pause) it must own the tables, for O(action=take)
                read them and have C(CREATE) on the database.
            type: str
          password:
            description:
              - Password of the role. Never shown, never an argument of a command.
            type: str
          sslmode:
            description:
              - How the connection is protected, in libpq's words.
            type: str
            choices: [disable, allow, prefer, require, verify-ca, verify-full]
          sslrootcert:
            description:
              - Path of the certificates that the server's must be signed by.
            type: path
          sslcert:
            description:
              - Path of a certificate to log in with.
            type: path
          sslkey:
            description:
              - Path of the key of C(sslcert).
            type: path
          connect_timeout:
            description:
              - Seconds to wait for a connection.
            type: int
            default: 10
          pod:
            description:
              - Where the database can't be reached from here, a pod to run psql in, over the Kubernetes API's exec. The
                other options then hold as seen from within that pod.
              - Needs psql 11 or newer in the container, and the rights C(create) and C(get) on C(pods/exec).
            type: dict
            suboptions:
              namespace:
                description: Namespace of the pod.
                type: str
                required: true
              name:
                description: Name of the pod.
                type: str
              deployment:
                description: Deployment of which the first ready pod is taken.
                type: str
              selector:
                description: Label selector of which the first ready pod is taken, such as V(app=postgres,role=primary).
                type: str
              container:
                description: Container of the pod; without it the pod's default one.
                type: str
      tables:
        description:
          - The tables there, in the order of O(tables). Without it they have the same names.
        type: list
        elements: str
        default: []
requirements:
  - psycopg >= 3.1 (Python package)
"""
