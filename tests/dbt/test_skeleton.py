def test_it_builds(shop_warehouse):
    w=shop_warehouse
    w.prepare(pending=list(w.events), last=max(w.events))
    w.dbt("build", "--exclude-resource-type", "unit_test")
    print(w.query("from marts.customer_features"))
    print(w.columns("marts.customer_features"))
    print(w.query("select column_name, column_type from (describe marts.customer_features)")[-30:])
