//! How the table shows what holds the sockets: process, unit, container, holders.

use super::*;

#[test]
fn a_container_is_shown_short_and_its_scope_not_at_all() {
    let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
    let report = report_with(|process| {
        process.unit = Some(Unit {
            name: format!("docker-{id}.scope"),
            user: None,
        });
        process.container = Some(Container {
            runtime: "docker",
            id: id.into(),
            pod: None,
            names: None,
        });
    });
    let text = table(&report, false);
    assert!(
        text.contains("924/1024      docker 9ec39b91f3d7\n"),
        "{text}"
    );
}

#[test]
fn a_container_with_names_is_shown_by_them() {
    let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
    let shown = |pod: Option<PodName>| {
        let report = report_with(|process| {
            process.container = Some(Container {
                runtime: "containerd",
                id: id.into(),
                pod: pod.is_some().then(|| "115d8276-f508".into()),
                names: Some(Arc::new(ContainerNames {
                    container: Some("we\x1bb".into()),
                    pod: pod.clone(),
                })),
            });
        });
        table(&report, false)
    };
    let text = shown(None);
    let line = "924/1024      web.service, containerd we\\x1bb 9ec39b91f3d7\n";
    assert!(text.contains(line), "{text}");
    let text = shown(Some(PodName {
        namespace: "shop".into(),
        name: "web-0".into(),
    }));
    let line = "924/1024      web.service, containerd we\\x1bb 9ec39b91f3d7 pod shop/web-0\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_process_is_shown_with_the_title_that_it_gave_itself() {
    let shown = |line: &[u8], exe: Option<&str>| {
        let report = report_with(|process| {
            process.command_line = line.into();
            process.exe = exe.map(Into::into);
        });
        let text = table(&report, false);
        let line = text.lines().nth(8).map(str::trim_start);
        line.map(str::to_owned).unwrap_or_default()
    };
    let postgres = Some("/usr/lib/postgresql/15/bin/postgres");
    assert_eq!(
        shown(b"postgres: app shop 10.0.0.9(55) idle\0\0\0\0", postgres),
        "/usr/lib/postgresql/15/bin/postgres (postgres: app shop 10.0.0.9(55) idle)"
    );
    assert_eq!(
        shown(b"nginx: worker process", Some("/usr/sbin/nginx")),
        "/usr/sbin/nginx (nginx: worker process)"
    );
    let python = Some("/usr/bin/python3.11");
    assert_eq!(
        shown(b"python3\0serve.py\0", python),
        "/usr/bin/python3.11 (python3 serve.py)"
    );
    assert_eq!(shown(b"./web\0-v\0", Some("/srv/web")), "/srv/web -v");
    assert_eq!(shown(b"web\0-v\0", None), "web -v");
    assert_eq!(shown(b"", Some("/srv/web")), "/srv/web");
    let long = shown("web\0ä".as_bytes(), Some(&format!("/{}", "ä".repeat(200))));
    assert!(
        long.starts_with("/ä") && long.contains("ä… (web ä)"),
        "{long}"
    );
    assert!(!long.contains('\u{fffd}'), "{long}");
}

#[test]
fn unit_or_container_is_shown_once_and_can_be_typed() {
    let shown = |unit: Option<&str>, machine: Option<&str>, cgroup: Option<&str>| {
        let report = report_with(|process| {
            process.unit = unit.map(|name| Unit {
                name: name.into(),
                user: None,
            });
            process.container = machine.map(|id| Container {
                runtime: "systemd-nspawn",
                id: id.into(),
                pod: None,
                names: None,
            });
            process.cgroup = cgroup.map(Into::into);
        });
        let text = table(&report, false);
        let line = text.lines().nth(1).unwrap_or_default().to_owned();
        line.split_once("924/1024")
            .map_or(line.clone(), |(_, place)| place.trim().to_owned())
    };
    for unit in [
        "machine-my\\x2dbox.scope",
        "systemd-nspawn@my\\x2dbox.service",
    ] {
        let shown = shown(Some(unit), Some("my-box"), None);
        assert_eq!(shown, "systemd-nspawn my-box");
    }
    let unit = "srv-my\\x2dapp.service";
    assert_eq!(shown(Some(unit), None, Some("/a/b")), unit);
    assert_eq!(shown(None, None, Some("/a/b")), "cgroup /a/b");
    assert_eq!(shown(None, None, Some("/")), "");
}

#[test]
fn many_holders_do_not_break_the_columns() {
    let report = report_of(|sockets| {
        sockets[0].holders = (7..27).map(|pid| holder(pid, &[5])).collect();
    });
    let text = table(&report, true);
    assert!(
        text.contains("       7:5,8:5,9:5,10:5+16 10.0.0.1:80 "),
        "{text}"
    );
}
