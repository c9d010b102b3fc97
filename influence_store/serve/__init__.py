"""`serve`: read-only pages of a store for a browser; nothing that is asked here writes.

    server    socket, Ctrl-C            guard     hosts, sizes, headers of every answer
    login     token → session           access    who asks, and what may they see
    browse, choices, record             the pages, over `*_facts` and the jobs of the command line

Needs the extra `serve`; only `verbs/serve.py` imports it.
"""
