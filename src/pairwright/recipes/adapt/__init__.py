"""`adapt`: the best classifier for a folder of one's own, found by trying many methods under an honest protocol.

problem.py reads what the user has; portfolio.py lists what is tried; search.py tries it by successive halving; committee.py joins the best;
nested.py measures the whole procedure on rows that it has not seen; learn.py runs these on features, run.py on images; page.py reports.
"""
