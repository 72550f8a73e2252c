// SPDX-License-Identifier: Apache-2.0
//! The files of a vplaned installation.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::transport::Endpoint;
use crate::types::{DataplaneId, Uuid};

fn ini(text: &str) -> Ini {
    Ini::parse(Path::new("/etc/vyatta/x.conf"), text).expect("well formed")
}

fn dataplane(text: &str) -> Result<Draft, IniError> {
    let mut draft = Draft::default();
    draft.take_dataplane(&ini(text)).map(|()| draft)
}

fn endpoint(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

#[test]
fn nothing_said_means_a_local_vplaned() {
    let settings = Draft::default().settle().expect("all has a default");
    assert_eq!(settings.request, endpoint("ipc:///var/run/vyatta/vplaned.req"));
    assert_eq!(settings.uuid, Uuid::local());
    assert_eq!(settings.console, [endpoint("ipc://*"), endpoint("ipc:///var/run/vplane.socket")]);
    assert_eq!(settings.report, Duration::from_secs(5));
    assert_eq!((settings.authentication, settings.broker), (None, None));
}

#[test]
fn a_dataplane_file_is_read() {
    let draft = dataplane(
        "; a comment\n# another\n[Controller]\nip = 192.0.2.1\nrequest=tcp://[::ffff:192.0.2.1]:4415 ; inline\n\
         certificate: /etc/vyatta/controller.cert\nunknown = ignored\n\n\
         [DATAPLANE]\nip=192.0.2.2\nuuid=11111111-2222-3333-4444-555555555555\ndataplane-id=3\n\
         control=tcp://192.0.2.2:5000\nupdate=2\ncertificate=/etc/vyatta/dp.cert\nIP=not ours: keys have a case\n\
         [authentication]\nmethod=elliptic-curve\n[rib]\nip=192.0.2.1\ncontrol=ipc:///run/broker\n",
    );
    let settings = draft.expect("good values").settle().expect("complete");
    assert_eq!(settings.request, endpoint("tcp://[::ffff:192.0.2.1]:4415"));
    assert_eq!(settings.uuid.as_str(), "11111111-2222-3333-4444-555555555555");
    assert_eq!(settings.dataplane, DataplaneId(3));
    assert_eq!(settings.address.to_string(), "192.0.2.2");
    assert_eq!(settings.console[0], endpoint("tcp://192.0.2.2:5000"));
    assert_eq!(settings.report, Duration::from_secs(2));
    assert_eq!(settings.broker, Some(endpoint("ipc:///run/broker")));
    let authentication = settings.authentication.expect("asked for");
    assert_eq!(authentication.certificate, Path::new("/etc/vyatta/dp.cert"));
    assert_eq!(authentication.controller, Path::new("/etc/vyatta/controller.cert"));
}

#[test]
fn a_local_dataplane_has_the_uuid_of_all_zeros_whatever_the_file_says() {
    let uuid = "uuid=11111111-2222-3333-4444-555555555555\n";
    let file = format!("[controller]\nip=127.0.0.1\n[dataplane]\nip=127.0.0.1\n{uuid}");
    let settings = dataplane(&file).expect("good values").settle().expect("complete");
    assert_eq!(settings.uuid, Uuid::local());
    let file = format!("[controller]\nip=192.0.2.1\n[dataplane]\nip=192.0.2.2\n{uuid}");
    let settings = dataplane(&file).expect("good values").settle().expect("complete");
    assert_eq!(settings.request, endpoint("tcp://192.0.2.1:4415"));
    assert_ne!(settings.uuid, Uuid::local());
}

#[test]
fn the_controllers_file_names_the_only_dataplane_there_is() {
    let text = "[Controller]\nip=127.0.0.1\nrequest=ipc:///run/req\ntimeout=86400\nroute-source=kernel\n\
                [Dataplane.fabric0]\nip=127.0.0.1\nuuid=00000000-0000-0000-0000-000000000000\n";
    let mut draft = Draft::default();
    draft.take_controller(&ini(text)).expect("good values");
    assert_eq!(draft.route_source, Some(RouteSource::Kernel));
    let settings = draft.settle().expect("complete");
    assert_eq!((settings.request, settings.dataplane), (endpoint("ipc:///run/req"), DataplaneId(0)));
    let mut draft = Draft::default();
    draft.take_controller(&ini("[Controller]\nip=127.0.0.1\n")).expect("good values");
    assert_eq!(draft.route_source, Some(RouteSource::Rib));
}

#[test]
fn what_was_said_before_a_file_stays() {
    let mut draft = Draft { request: Some(endpoint("ipc:///first")), ..Draft::default() };
    draft.take_dataplane(&ini("[controller]\nrequest=ipc:///second\n")).expect("good values");
    assert_eq!(draft.request, Some(endpoint("ipc:///first")));
}

#[test]
fn a_bad_value_is_told_with_file_and_line() {
    for (text, expected) in [
        (
            "[controller]\nip=300.0.0.1\n",
            "/etc/vyatta/x.conf:2: expected an IP address for ip in [controller], found \"300.0.0.1\"",
        ),
        ("[controller]\n\nrequest=udp://x\n", "x.conf:3: expected ipc://PATH or tcp://HOST:PORT for request"),
        ("[dataplane]\nuuid=0\n", "x.conf:2: expected a UUID"),
        ("[dataplane]\ndataplane-id=-1\n", "expected 0 to 65535"),
        ("[dataplane]\nupdate=0\n", "expected 1 to 3600 seconds"),
        (
            "[authentication]\nmethod=rsa\n",
            "expected elliptic-curve or none for method in [authentication], found \"rsa\"",
        ),
    ] {
        let error = dataplane(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
    }
    for (text, expected) in [
        ("[open\n", "x.conf:1: expected [SECTION]"),
        ("\nword\n", "x.conf:2: expected KEY = VALUE, found \"word\""),
    ] {
        let error = Ini::parse(Path::new("x.conf"), text).expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = Ini::read(Path::new("/nonexistent/x.conf")).expect_err("no file").to_string();
    assert!(error.starts_with("cannot read /nonexistent/x.conf: "), "{error}");
}

#[test]
fn curve_without_certificates_is_an_error_that_names_what_is_missing() {
    let draft = Draft { curve: Some(true), ..Draft::default() };
    let error = draft.settle().expect_err("nothing is given").to_string();
    assert_eq!(error, "elliptic-curve needs a certificate of the dataplane");
    let draft = Draft { curve: Some(true), certificate: Some("/x".into()), ..Draft::default() };
    assert_eq!(
        draft.settle().expect_err("half").to_string(),
        "elliptic-curve needs the certificate of the controller"
    );
}
