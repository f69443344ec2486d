//! What is counted, and what is forgotten.

use super::*;

fn row(view: &View, name: &str) -> super::super::view::ServiceRow {
    let services = view.services.iter();
    let found = services.clone().find(|(service, _)| service.name() == name);
    let (_, row) = found.unwrap_or_else(|| {
        let names: Vec<&str> = services.map(|(service, _)| service.name()).collect();
        panic!("{name} is not among {names:?}")
    });
    row.clone()
}

#[test]
fn closes_are_counted_by_service_with_the_main_cause() {
    let view = view();
    let billing = row(&view, "billing.service");
    assert_eq!(billing.cause.as_deref(), Some("stale keep-alive :8088"));
    assert_eq!((billing.abnormal_total, billing.stuck), (13, 2));
    assert!((billing.abnormal - 1.3).abs() < 0.2, "{billing:?}");
    assert_eq!(billing.files, Some((45, Some(1_024))));
    let web = row(&view, "web.service");
    assert!((web.closes - 30.0).abs() < 1.0, "{web:?}");
    assert_eq!((web.abnormal, web.files), (0.0, Some((91, Some(1_024)))));
    assert_eq!(&*web.process, "nginx");
    // In no cgroup of its own.
    assert_eq!(
        row(&view, "report-job").cause.as_deref(),
        Some("refused :5432")
    );
    assert_eq!(row(&view, "(process not known)").abnormal_total, 0);
    assert_eq!(view.lost, 2);
}

#[test]
fn a_route_in_time_wait_belongs_to_who_connects_on_it() {
    let mut scan = scan();
    let route = RouteReport {
        owners: Vec::new(),
        ..scan.routes.routes[0].clone()
    };
    scan.routes = Arc::new(RoutesReport::new(at(9_000), None, vec![route]));
    let mut tally = tally();
    let mut close = refused();
    close.endpoint.netns = None;
    close.endpoint.tuple = samples::tuple("10.0.0.5:40001", "10.0.0.9:9300");
    tally.add(closed(at(9_000), close));
    let view = view_of(&tally, Some(&scan), None);
    assert_eq!(row(&view, "report-job").ports, Some(1.0));
    assert_eq!(row(&view, "web.service").ports, None);
}

#[test]
fn the_main_cause_is_that_of_late() {
    let mut tally = Tally::new(START, Symbols::Unicode);
    for number in 0..100 {
        tally.add(closed(at(number), stale(1)));
    }
    for number in 0..20 {
        let close = Close {
            owner: owner(1, b"python3", 7),
            ..refused()
        };
        tally.add(closed(at(200_000 + number), close));
    }
    let view = view_of(&tally, None, None);
    let cause = row(&view, "billing.service").cause;
    assert_eq!(cause.as_deref(), Some("refused :5432"));
}

#[test]
fn of_too_many_services_the_quiet_ones_are_counted_together() {
    let mut tally = Tally::new(START, Symbols::Unicode);
    let services = 10_500;
    for number in 0..services {
        let close = Close {
            owner: owner(1, format!("job-{number}").as_bytes(), 0),
            ..refused()
        };
        tally.add(closed(at(number), close));
    }
    let view = view_of(&tally, None, None);
    assert!(view.services.len() <= 10_001 && view.services.len() > 9_000);
    assert!(view.forgotten >= 1_000, "{}", view.forgotten);
    let others = row(&view, "(other services)").abnormal_total;
    let all = view.services.iter().map(|(_, row)| row.abnormal_total);
    assert_eq!(all.sum::<u64>(), services);
    assert_eq!(others, view.forgotten);
    // The last one is never forgotten.
    row(&view, &format!("job-{}", services - 1));
}

#[test]
fn names_of_services_are_what_people_call_them() {
    let service = |path: &str| {
        let name = CgroupName {
            path: path.to_owned(),
            container: tcpclose_sys::host::container::from_cgroup_path(path),
        };
        Service::from_cgroup(&name).map(|service| service.name().to_owned())
    };
    let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
    assert_eq!(
        service(&format!("/docker/{id}")).as_deref(),
        Some("docker 9ec39b91f3d7")
    );
    let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service";
    assert_eq!(service(user).as_deref(), Some("web.service"));
    // A login session runs anything.
    assert_eq!(service("/user.slice/user-0.slice/session-2.scope"), None);
    assert_eq!(service("/"), None);
    let long = format!("/system.slice/{}\x1b[2J.service", "数".repeat(2_000));
    let shown = service(&long).unwrap_or_default();
    assert!(shown.len() < 200 && !shown.contains('\x1b'), "{shown}");
}
