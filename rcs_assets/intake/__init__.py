"""From delivered files to payload tables, vault entries, quarantine and receipts.

Belongs here: the drop register, readers, contracts, the splitter, receipts. Does not
belong here: who is the same child (`linkage`) and what an answer is worth (`wellbeing`).
"""
