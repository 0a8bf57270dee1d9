use super::*;

fn host_ports(variant: &Variant) -> Vec<(&str, u16, u16)> {
    variant
        .forwards
        .iter()
        .map(|f| (f.name.as_str(), f.host, f.guest))
        .collect()
}

#[test]
fn names_and_consoles_are_the_documented_ones() {
    let variants = all().unwrap();
    let table: Vec<_> = variants
        .iter()
        .map(|v| {
            (
                v.name.as_str(),
                v.hostname.as_str(),
                v.consoles[0].port,
                v.consoles[1].port,
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            ("base", "pcp-vm", 24500, 24501),
            ("eval", "pcp-eval-vm", 24510, 24511),
            ("grafana", "pcp-grafana-vm", 24520, 24521),
            ("bpf", "pcp-bpf-vm", 24530, 24531),
        ]
    );
    for variant in &variants {
        assert_eq!(variant.mac.to_string(), "02:00:00:0a:cb:01");
        assert_eq!((variant.memory_mib, variant.cpus), (1024, 4));
        assert_eq!(variant.consoles[0].device, ConsoleDevice::TtyS0);
        let login = variant.debug_logins.console.as_ref().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            ("root", "pcp")
        );
    }
}

#[test]
fn host_ports_are_the_documented_ones() {
    let ports = |name| find(name).unwrap();
    assert_eq!(
        host_ports(&ports("base")),
        [
            ("ssh", 22022, 22),
            ("pmcd", 44321, 44321),
            ("pmproxy", 44322, 44322)
        ]
    );
    assert_eq!(
        host_ports(&ports("eval")),
        [
            ("ssh", 22122, 22),
            ("pmcd", 44421, 44321),
            ("pmproxy", 44422, 44322),
            ("node_exporter", 9200, 9100),
        ]
    );
    assert_eq!(
        host_ports(&ports("grafana")),
        [
            ("ssh", 22222, 22),
            ("pmcd", 44521, 44321),
            ("pmproxy", 44522, 44322),
            ("node_exporter", 9300, 9100),
            ("grafana", 13200, 3000),
            ("prometheus", 19290, 9090),
        ]
    );
    assert_eq!(
        host_ports(&ports("bpf")),
        [
            ("ssh", 22322, 22),
            ("pmcd", 44621, 44321),
            ("pmproxy", 44622, 44322),
            ("node_exporter", 9400, 9100),
        ]
    );
}

#[test]
fn services_and_metrics_are_the_documented_ones() {
    let units = |name| {
        let services = find(name).unwrap().services;
        services
            .into_iter()
            .map(|service| service.unit)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(units("base"), "pmcd pmproxy pmlogger");
    assert_eq!(
        units("eval"),
        "pmcd pmproxy prometheus-node-exporter pmie-test stress-ng-test"
    );
    assert_eq!(
        units("grafana"),
        "pmcd pmproxy prometheus-node-exporter grafana prometheus"
    );
    assert_eq!(units("bpf"), "pmcd pmproxy prometheus-node-exporter");
    assert_eq!(find("base").unwrap().metrics.len(), 3);
    assert!(
        find("bpf")
            .unwrap()
            .metrics
            .contains(&"bpf.runq.latency".to_owned())
    );
    assert!(
        find("grafana")
            .unwrap()
            .metrics
            .contains(&"bpf.disk.all.latency".to_owned())
    );
}

#[test]
fn only_grafana_needs_a_package_that_must_be_given() {
    for variant in all().unwrap() {
        for service in variant.services {
            let expected = (service.unit == "grafana").then(|| "grafana".to_owned());
            assert_eq!(service.slot, expected, "{}", service.unit);
        }
    }
}

#[test]
fn no_two_variants_share_a_host_port() {
    let mut ports = Vec::new();
    for variant in all().unwrap() {
        ports.extend(variant.forwards.iter().map(|forward| forward.host));
        ports.extend(variant.consoles.iter().map(|console| console.port));
    }
    let count = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), count);
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let message = find("bass").unwrap_err().to_string();
    assert_eq!(
        message,
        "there is no variant `bass` (known: base, eval, grafana, bpf)"
    );
}

#[test]
fn a_table_that_leads_nowhere_is_refused() {
    let wrong = TABLE.replacen("forwards = [\"ssh\"", "forwards = [\"shs\"", 1);
    assert!(matches!(
        parse(&wrong),
        Err(VariantError::Reference { kind: "port", .. })
    ));
    let wrong = TABLE.replacen("consoles = 24500", "consoles = 65535", 1);
    assert!(matches!(parse(&wrong), Err(VariantError::Port { .. })));
    let wrong = TABLE.replacen("offset = 0", "offset = 0\ncolour = 1", 1);
    assert!(matches!(parse(&wrong), Err(VariantError::Table { .. })));
}

/// What the flake's guests promise, as its tests write it down.
const NIX: &str = include_str!("../../../nix/tests/golden/manifests.json");

#[test]
fn guests_of_nix_promise_the_same() {
    let nix: serde_json::Value = serde_json::from_str(NIX).unwrap();
    let variants = all().unwrap();
    assert_eq!(nix.as_object().unwrap().len(), variants.len());
    for variant in &variants {
        let manifest = &nix[&variant.name];
        let same = |field: &str, value: serde_json::Value| {
            assert_eq!(manifest[field], value, "{} of {}", field, variant.name);
        };
        let units: Vec<_> = variant.services.iter().map(|it| &it.unit).collect();
        let checks: Vec<_> = variant.http_checks.iter().map(|(_, check)| check).collect();
        same("variant", serde_json::json!(variant.name));
        same("hostname", serde_json::json!(variant.hostname));
        same("process", serde_json::json!(variant.hostname));
        same("memory_mib", serde_json::json!(variant.memory_mib));
        same("cpus", serde_json::json!(variant.cpus));
        same("mac", serde_json::json!(variant.mac));
        same("forwards", serde_json::json!(variant.forwards));
        same("consoles", serde_json::json!(variant.consoles));
        same("services", serde_json::json!(units));
        same("metrics", serde_json::json!(variant.metrics));
        same("http_checks", serde_json::json!(checks));
        same("logins", serde_json::json!(variant.debug_logins));
    }
}
