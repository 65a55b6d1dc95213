"""`make rehearsal`: a whole release in a rehearsal cluster, under load, and a verdict on how it went.

The one place outside the tests that knows both the collection and the rehearsal cluster.
"""
