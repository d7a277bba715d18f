use sepal_kernels::pack;

#[test]
fn panels_hold_groups_apart() {
    let weights: Vec<f32> = (0..2 * 20).map(|i| i as f32).collect();
    let mut panels = vec![-1.0; pack::conv_len([1, 1], 2, 20, 2).unwrap()];
    pack::conv([1, 1], 2, 20, 2, &weights, &mut panels);
    assert_eq!(panels.len(), 2 * 2 * 16);
    assert_eq!(&panels[..11], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 0.0]);
    assert_eq!(&panels[16..27], &[20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0, 28.0, 29.0, 0.0]);
    assert_eq!(panels[32], 10.0);
}
