//! The Helm chart, against helm and the schemas of Kubernetes. No cluster is asked.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tcpclose_kit::chart::{Helm, IMAGE, chart, of_kind};
use tcpclose_kit::scratch::Scratch;

use crate::tool::read;

/// The versions of Kubernetes for which manifests are checked: before AppArmor's profile was a
/// field, then the newest and one between.
const VERSIONS: [&str; 3] = ["1.29", "1.32", "1.37"];

/// Values that change what is rendered.
const VALUES: [&[&str]; 5] = [
    &[],
    &[
        "--set",
        "podMonitor.enabled=true,podMonitor.labels.release=prometheus",
    ],
    &[
        "--set",
        "networkPolicy.enabled=true",
        "--set-json",
        r#"networkPolicy.from=[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]"#,
        "--set-json",
        r#"networkPolicy.egress=[{"to":[{"ipBlock":{"cidr":"192.0.2.10/32"}}]}]"#,
    ],
    &[
        "--set",
        "image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "--set",
        "priorityClassName=system-node-critical,seLinuxOptions.type=spc_t,port=9999",
        "--set",
        "serviceAccount.create=false,serviceAccount.name=monitoring,updateStrategy.type=OnDelete",
        "--set-json",
        r#"imagePullSecrets=[{"name":"key"}]"#,
    ],
    &[
        "--set-json",
        r#"extraVolumes=[{"name":"logs","hostPath":{"path":"/var/log/pods"}}]"#,
        "--set-json",
        r#"extraVolumeMounts=[{"name":"logs","mountPath":"/var/log/pods","readOnly":true}]"#,
        "--set-json",
        r#"appArmorProfile={"type":"Localhost","localhostProfile":"tcpclose"}"#,
        "--set-json",
        "tolerations=[]",
        "--set",
        "nameOverride=closes,networkPolicy.enabled=true",
    ],
];

fn rendered(helm: &Helm, kubernetes: &str, values: &[&str]) -> Vec<Value> {
    let yaml = helm.template(kubernetes, &[&IMAGE, values].concat());
    helm.read(&yaml.expect("the chart can be rendered"))
}

fn agent(manifests: &[Value]) -> (&Value, &Value) {
    let pod = &of_kind(manifests, "DaemonSet")["spec"]["template"]["spec"];
    (pod, &pod["containers"][0])
}

#[test]
fn helm_finds_no_fault_in_it() {
    let Some(helm) = Helm::find() else { return };
    for values in VALUES {
        let linted = helm.run(&["lint", "--strict"], &[&IMAGE, values].concat());
        let text = linted.expect("no fault");
        assert!(text.contains("0 chart(s) failed"), "{text}");
    }
}

#[test]
fn every_manifest_is_valid_in_three_versions_of_kubernetes() {
    let Some(helm) = Helm::find() else { return };
    let scratch = Scratch::new();
    for (kubernetes, values) in VERSIONS
        .iter()
        .flat_map(|v| VALUES.iter().map(move |w| (v, w)))
    {
        let yaml = helm.template(kubernetes, &[&IMAGE, *values].concat());
        let file = scratch.write("manifests.yaml", &yaml.expect("it can be rendered"));
        let messages = helm.validate(kubernetes, &file.expect("a file of our own"));
        let messages = messages.unwrap_or_else(|messages| panic!("{values:?}: {messages}"));
        assert!(
            messages.contains("passed for resource daemonset/test-"),
            "{messages}"
        );
        // The operator's kinds are not Kubernetes' own.
        let unchecked = messages
            .lines()
            .filter(|line| !line.contains("passed for resource"));
        let others: Vec<&str> = unchecked
            .filter(|line| !line.contains("kind PodMonitor"))
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
    let broken = helm.template("1.37", &IMAGE).expect("it can be rendered");
    let broken = broken.replace("hostPID: true", "hostPid: true");
    let file = scratch
        .write("broken.yaml", &broken)
        .expect("a file of our own");
    let messages = helm
        .validate("1.37", &file)
        .expect_err("the checker knows each field");
    assert!(messages.contains("'hostPid' was unexpected"), "{messages}");
}

#[test]
fn without_an_image_it_is_refused_in_a_sentence() {
    let Some(helm) = Helm::find() else { return };
    let why = helm.template("1.37", &[]).expect_err("there is no image");
    assert!(
        why.contains(
            "image.repository is not set: build the image, push it to a registry of yours"
        ),
        "{why}"
    );
}

#[test]
fn values_that_the_chart_does_not_know_are_refused() {
    let Some(helm) = Helm::find() else { return };
    for (value, why) in [
        ("imag.tag=1", "additional properties 'imag' not allowed"),
        (
            "image.repository=Registry/Of Mine",
            "does not match pattern",
        ),
        ("image.pullPolicy=Sometimes", "value must be one of"),
        ("port=0", "minimum: got 0, want 1"),
        ("config=", "minLength: got 0, want 1"),
        ("resources.limits.memory=lots", "does not match pattern"),
        (
            "appArmorProfile.type=Localhost",
            "missing property 'localhostProfile'",
        ),
        ("podMonitor.interval=30", "got number, want string"),
    ] {
        let refused = helm.template("1.37", &[&IMAGE[..], &["--set", value]].concat());
        let message = refused.expect_err(value);
        assert!(message.contains(why), "{value}: {message}");
    }
    // Every value that has a default is in the schema, and the other way round.
    let values = helm.run(&["show", "values"], &[]).expect("they are there");
    let values = helm.read(&values);
    let schema = fs::read_to_string(chart().join("values.schema.json")).expect("it is there");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    let keys = |of: &Value| -> BTreeSet<String> {
        of.as_object().expect("an object").keys().cloned().collect()
    };
    let mut described = keys(&schema["properties"]);
    assert!(described.remove("global"), "helm passes it to every chart");
    assert_eq!(keys(&values[0]), described);
}

#[test]
fn the_agent_has_the_rights_of_the_systemd_unit_and_no_others() {
    let Some(helm) = Helm::find() else { return };
    for version in VERSIONS {
        let manifests = rendered(&helm, version, &[]);
        let (pod, agent) = agent(&manifests);
        assert_eq!(pod["hostPID"], true);
        for right in ["hostNetwork", "hostIPC", "automountServiceAccountToken"] {
            assert_eq!(pod[right], false, "{right}");
        }
        let context = &agent["securityContext"];
        for (key, value) in [
            ("privileged", json!(false)),
            ("allowPrivilegeEscalation", json!(false)),
            ("readOnlyRootFilesystem", json!(true)),
            ("seccompProfile", json!({"type": "RuntimeDefault"})),
        ] {
            assert_eq!(context[key], value, "{key}");
        }
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        let granted = context["capabilities"]["add"].as_array().expect("a list");
        let granted: BTreeSet<String> = granted
            .iter()
            // Kubernetes takes the names without CAP_; with it, it refuses SYS_ADMIN beside
            // allowPrivilegeEscalation: false.
            .map(|name| format!("CAP_{}", name.as_str().expect("a name")))
            .collect();
        let unit = read("tcpclose-agent.service");
        let of_unit = unit
            .lines()
            .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        let of_unit = of_unit.expect("it has some").split(' ').map(str::to_owned);
        assert_eq!(granted, of_unit.collect());
        let writable: Vec<&Value> = agent["volumeMounts"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|mount| mount["readOnly"] != true)
            .map(|mount| &mount["mountPath"])
            .collect();
        assert_eq!(writable, ["/run/tcpclose", "/var/lib/tcpclose"]);
        let check = &pod["initContainers"][0]["securityContext"];
        assert_eq!(check["runAsNonRoot"], true);
        assert_eq!(check["capabilities"], json!({"drop": ["ALL"]}));
        // Without this profile the runtime forbids looking at other containers' processes.
        let annotations =
            &of_kind(&manifests, "DaemonSet")["spec"]["template"]["metadata"]["annotations"];
        let annotation = &annotations["container.apparmor.security.beta.kubernetes.io/agent"];
        let field = &context["appArmorProfile"];
        match version {
            "1.29" => assert_eq!((annotation, field), (&json!("unconfined"), &Value::Null)),
            _ => assert_eq!(
                (annotation, field),
                (&Value::Null, &json!({"type": "Unconfined"}))
            ),
        }
    }
}

/// What the init container runs takes the chart's own configuration, and refuses a wrong one.
#[test]
fn the_configuration_is_checked_before_the_agent_starts_and_a_new_one_starts_new_pods() {
    let Some(helm) = Helm::find() else { return };
    let scratch = Scratch::new();
    let checksum = |values: &[&str], is_good: bool| {
        let manifests = rendered(&helm, "1.37", values);
        let (pod, agent) = agent(&manifests);
        let check = &pod["initContainers"][0];
        assert_eq!(check["image"], agent["image"]);
        let config = of_kind(&manifests, "ConfigMap")["data"]["agent.toml"].as_str();
        let file = scratch
            .write("agent.toml", config.expect("a text"))
            .expect("our own");
        let file = file.to_str().expect("text");
        let args = check["args"].as_array().expect("a list").iter();
        let args = args.map(|arg| arg.as_str().expect("text"));
        let args = args.map(|arg| arg.replace("/etc/tcpclose/agent.toml", file));
        let checked = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
            .args(args)
            .output();
        let checked = checked.expect("it runs");
        assert_eq!(checked.status.success(), is_good, "{checked:?}");
        let template = &of_kind(&manifests, "DaemonSet")["spec"]["template"];
        template["metadata"]["annotations"]["checksum/config"].clone()
    };
    let first = checksum(&[], true);
    assert_eq!(first, checksum(&["--set", "podLabels.a=b"], true));
    assert_ne!(first, checksum(&["--set", "port=9999"], true));
    checksum(&["--set", "config=intervall = 1"], false);
}

#[test]
fn probes_and_scrapes_ask_the_port_that_the_agent_listens_on() {
    let Some(helm) = Helm::find() else { return };
    let values = [
        "--set",
        "port=9999,podMonitor.enabled=true,networkPolicy.enabled=true",
        "--set-json",
        r#"networkPolicy.from=[{"podSelector":{}}]"#,
    ];
    let manifests = rendered(&helm, "1.37", &values);
    let (_, agent) = agent(&manifests);
    assert_eq!(
        agent["ports"],
        json!([{"name": "metrics", "containerPort": 9999, "protocol": "TCP"}])
    );
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(
            agent[probe]["httpGet"],
            json!({"path": "/healthz", "port": "metrics"})
        );
    }
    let config = &of_kind(&manifests, "ConfigMap")["data"]["agent.toml"];
    assert!(
        config
            .as_str()
            .is_some_and(|text| text.contains("\"0.0.0.0:9999\"")),
        "{config}"
    );
    let labels = &of_kind(&manifests, "DaemonSet")["spec"]["selector"]["matchLabels"];
    let monitor = &of_kind(&manifests, "PodMonitor")["spec"];
    assert_eq!(&monitor["selector"]["matchLabels"], labels);
    assert_eq!(monitor["podMetricsEndpoints"][0]["port"], "metrics");
    // The alert rules ask for this job.
    let job = monitor["jobLabel"].as_str().expect("a label");
    assert_eq!(labels[job], "tcpclose");
    let policy = &of_kind(&manifests, "NetworkPolicy")["spec"];
    assert_eq!(&policy["podSelector"]["matchLabels"], labels);
    assert_eq!(policy["ingress"][0]["ports"][0]["port"], "metrics");
    assert_eq!(policy["egress"], json!([]), "nowhere");
}

#[test]
fn without_peers_a_network_policy_denies_all_ingress() {
    let Some(helm) = Helm::find() else { return };
    let manifests = rendered(&helm, "1.37", &["--set", "networkPolicy.enabled=true"]);
    let policy = &of_kind(&manifests, "NetworkPolicy")["spec"];
    assert_eq!(
        (&policy["ingress"], &policy["egress"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn the_chart_has_the_programs_version() {
    let Some(helm) = Helm::find() else { return };
    let chart = helm.run(&["show", "chart"], &[]).expect("it is there");
    let chart = &helm.read(&chart)[0];
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
